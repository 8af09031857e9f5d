//! A worker of Kafka Connect with its one connector.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::time::sleep;

use super::rest::{Answer, put_connector};
use super::{Debezium, Mode, properties};
use crate::kafka::Kafka;
use crate::outcome::{Failure, Outcome};
use crate::postgres::Postgres;
use crate::process::Process;
use crate::usage::Usage;

const LOGGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/lib/log4j2.properties");
const START_LIMIT: Duration = Duration::from_secs(90);
const START_POLL: Duration = Duration::from_millis(100);
const END_LIMIT: Duration = Duration::from_secs(20);
/// Below the range that the kernel gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// The last lines of its log are shown when it fails.
const SHOWN_LINES_MAX: usize = 8;

/// A worker that runs.
#[derive(Debug)]
pub(crate) struct Worker {
    process: Process,
    log: PathBuf,
}

impl Debezium {
    /// Starts a worker with a connector that reads the slot and the publication `name`, and publishes to [`Mode::topic`].
    pub(crate) async fn start(
        &self,
        mode: Mode,
        postgres: &Postgres,
        kafka: &Kafka,
        database: &str,
        name: &str,
    ) -> Outcome<Worker> {
        let port = free_port()?;
        let worker = properties::worker(mode, name, kafka, &self.plugins, &self.scratch, port);
        let connector = properties::connector(mode, name, postgres, database);
        fs::create_dir_all(&self.scratch)?;
        let file = |what: &str| self.scratch.join(format!("{name}-{what}"));
        let (worker_file, connector_file, log) = (file("worker"), file("connector"), file("log"));
        fs::write(&worker_file, properties::text(&worker))?;
        fs::write(&connector_file, properties::text(&connector))?;
        let mut command = Command::new("java");
        command
            .args(["-Xms256m", "-Xmx1g", "-Djava.awt.headless=true"])
            .arg(format!("-Dlog4j2.configurationFile={LOGGING}"))
            .arg("-cp")
            .arg(self.worker.join("*"));
        match mode {
            Mode::AtLeastOnce | Mode::Router => {
                command.arg("org.apache.kafka.connect.cli.ConnectStandalone").arg(worker_file).arg(connector_file)
            }
            Mode::ExactlyOnce => command.arg("org.apache.kafka.connect.cli.ConnectDistributed").arg(worker_file),
        };
        command.stdout(Stdio::from(fs::File::create(&log)?)).stderr(Stdio::null());
        let mut worker = Worker { process: Process::start(&mut command)?, log };
        if mode == Mode::ExactlyOnce {
            let deadline = Instant::now() + START_LIMIT;
            let configuration = properties::json(&connector);
            while put_connector(port, name, &configuration).await? == Answer::NotYet {
                worker.check()?;
                if Instant::now() > deadline {
                    return Err(worker.failure("it takes no connector"));
                }
                sleep(START_POLL).await;
            }
        }
        Ok(worker)
    }
}

impl Worker {
    /// Fails if it has ended.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        if self.process.has_ended() { Err(self.failure("it ended")) } else { Ok(()) }
    }

    pub(crate) fn usage(&self) -> Usage {
        self.process.usage()
    }

    pub(crate) async fn end(self) {
        self.process.end(END_LIMIT).await;
    }

    pub(crate) fn failure(&self, what: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].join(" | ");
        format!("Debezium: {what}; its log ends with: {last}").into()
    }
}

fn free_port() -> Outcome<u16> {
    // Several rigs at once begin at different places.
    let first = PORTS.start + (std::process::id() % 10_000) as u16;
    let free =
        (first..PORTS.end).chain(PORTS.start..first).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.ok_or_else(|| "there is no free port for the worker".into())
}
