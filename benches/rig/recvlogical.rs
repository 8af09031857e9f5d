//! The limit: PostgreSQL's own client, which writes what the walsender sends to /dev/null.

use std::env;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::dataset::Dataset;
use crate::outcome::Outcome;
use crate::postgres::Postgres;
use crate::process::Process;

const LIMIT: Duration = Duration::from_secs(600);

/// It logs this when it is connected and asks for the stream.
const STARTING: &str = "starting log streaming";

/// The program, and how often it has run.
#[derive(Debug, Clone)]
pub(crate) struct Recvlogical {
    program: PathBuf,
}

impl Recvlogical {
    pub(crate) fn find() -> Outcome<Self> {
        let folder = env::var("PG_BIN").map_err(|_| "PG_BIN is not set: it names the folder of pg_recvlogical")?;
        let program = PathBuf::from(folder).join("pg_recvlogical");
        if program.exists() { Ok(Self { program }) } else { Err(format!("there is no {}", program.display()).into()) }
    }

    /// Drains the backlog over TCP, and returns how long that took from the moment that it asks for the stream.
    pub(crate) async fn drain(&self, postgres: &Postgres, dataset: &Dataset, feed: &str) -> Outcome<Duration> {
        let mut command = Command::new(&self.program);
        command
            .args([
                "--start",
                "--no-loop",
                "--verbose",
                "--file",
                "/dev/null",
                "--slot",
                feed,
                "--endpos",
                &dataset.end,
            ])
            .args(["--dbname", &dataset.database, "--host", &postgres.host, "--username", postgres.role()])
            .args(["--port", &postgres.port.to_string(), "--no-password"])
            .args(["--option", "proto_version=1", "--option", "messages=true"])
            .args(["--option", &format!("publication_names={feed}")])
            .env("PGPASSWORD", postgres.password())
            .stderr(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        let mut started = Instant::now();
        let mut said = Vec::new();
        if let Some(stderr) = process.stderr() {
            let mut lines = BufReader::new(stderr).lines();
            while let Some(line) = timeout(LIMIT, lines.next_line()).await?? {
                if line.contains(STARTING) {
                    started = Instant::now();
                }
                said.push(line);
            }
        }
        let ended = process.wait().await;
        let took = started.elapsed();
        ended.map_err(|error| format!("pg_recvlogical: {error}: {}", said.join("; ")))?;
        Ok(took)
    }
}
