//! The relay that is measured: the released `change-feed` command, as a process of its own.

use std::collections::VecDeque;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStderr, Command};
use tokio::time::timeout_at;

use crate::dataset::TABLE;
use crate::outcome::Outcome;
use crate::process::Process;
use crate::usage::Usage;

/// A log level at which the rig sees the relay's progress. Asking the servers would disturb the measurement more.
pub(crate) const LOG_PROGRESS: &str = "info,change_feed::relay=debug";
/// A log level for measurements that need no progress.
pub(crate) const LOG_QUIET: &str = "info";
const END_LIMIT: Duration = Duration::from_secs(15);
/// The last lines of its log are shown when it fails.
const REMEMBERED_LINES_MAX: usize = 6;

/// Where records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Null,
    Kafka(Delivery),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Delivery {
    Transactional,
    Idempotent,
}

/// What the relay makes of the table's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As an outbox: CloudEvents.
    Events,
    /// As rows: flat JSON.
    Rows,
}

/// The relay's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) to: To,
    pub(crate) shape: Shape,
}

impl Delivery {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::Idempotent => "idempotent",
        }
    }
}

impl Plan {
    /// Publishes to Kafka with the command's defaults.
    pub(crate) fn to_kafka(delivery: Delivery, shape: Shape) -> Self {
        Self { to: To::Kafka(delivery), shape }
    }

    /// The topic that a feed's records go to.
    pub(crate) fn topic(&self, feed: &str) -> String {
        match self.shape {
            Shape::Events => format!("{feed}.events"),
            Shape::Rows => format!("{feed}.{TABLE}"),
        }
    }

    fn arguments(&self, feed: &str) -> Vec<String> {
        let topic = self.topic(feed);
        let shape = match self.shape {
            Shape::Events => ["--outbox", TABLE, "--topic", &topic],
            Shape::Rows => ["--tables", TABLE, "--topic-prefix", feed],
        };
        let to = match self.to {
            To::Null => ["--to", "null"].to_vec(),
            To::Kafka(delivery) => ["--to", "kafka", "--delivery", delivery.name()].to_vec(),
        };
        [&["run", "--feed", feed], &shape[..], &to].concat().into_iter().map(str::to_owned).collect()
    }
}

/// The built command.
#[derive(Debug, Clone)]
pub(crate) struct RelayProgram {
    program: PathBuf,
}

impl RelayProgram {
    /// Takes the given program, or builds the workspace's own for release, into the same target folder as the rig.
    pub(crate) async fn find(given: Option<&Path>, target: &Path) -> Outcome<Self> {
        if let Some(program) = given {
            return Self::ask(program.to_owned()).await;
        }
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--release", "--package", "change-feed-cli", "--target-dir"]).arg(target);
        build.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).kill_on_drop(true);
        if !build.status().await?.success() {
            return Err("the change-feed command can't be built".into());
        }
        Self::ask(target.join("release/change-feed")).await
    }

    async fn ask(program: PathBuf) -> Outcome<Self> {
        let help =
            Command::new(&program).args(["run", "--help"]).stdin(Stdio::null()).kill_on_drop(true).output().await;
        let help = help.map_err(|error| format!("{} can't be started: {error}", program.display()))?;
        if !help.status.success() {
            return Err(format!("{} has no verb `run`", program.display()).into());
        }
        Ok(Self { program })
    }

    pub(crate) fn start(
        &self,
        plan: &Plan,
        feed: &str,
        database_url: &str,
        brokers: &str,
        log: &str,
    ) -> Outcome<Relay> {
        let mut command = Command::new(&self.program);
        command
            .args(plan.arguments(feed))
            .env("DATABASE_URL", database_url)
            .env("KAFKA_BROKERS", brokers)
            .env("RUST_LOG", log)
            .env("NO_COLOR", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        let stderr = process.stderr().ok_or("the relay's log is not at hand")?;
        let started = Instant::now();
        Ok(Relay { process, log: BufReader::new(stderr).lines(), remembered: VecDeque::new(), started })
    }
}

/// A relay that runs.
#[derive(Debug)]
pub(crate) struct Relay {
    process: Process,
    log: Lines<BufReader<ChildStderr>>,
    remembered: VecDeque<String>,
    pub(crate) started: Instant,
}

/// The moments between which a run is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// The relay asked for the log.
    pub(crate) reading: Instant,
    /// The publisher had the last row, durably.
    pub(crate) published: Instant,
}

/// What a line of the relay's log means to the rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogLine {
    Reading,
    Resumed,
    Published(u64),
}

impl Relay {
    /// Waits until this number of rows is published.
    pub(crate) async fn published(&mut self, rows: u64, limit: Duration) -> Outcome<Progress> {
        let deadline = (Instant::now() + limit).into();
        let (mut reading, mut resumed, mut count) = (None, None, 0);
        while count < rows {
            let Ok(line) = timeout_at(deadline, self.log.next_line()).await else {
                return Err(self.failure(&format!("{count} of {rows} rows were published in {} s", limit.as_secs())));
            };
            let Some(line) = line? else {
                return Err(self.failure(&format!("it ended after {count} of {rows} rows")));
            };
            let now = Instant::now();
            match parse(&line) {
                Some(LogLine::Reading) => reading = reading.or(Some(now)),
                Some(LogLine::Resumed) => resumed = resumed.or(Some(now)),
                Some(LogLine::Published(envelopes)) => count += envelopes,
                None => self.remember(line),
            }
        }
        let reading = reading.or(resumed).ok_or_else(|| self.failure("it did not say when it began to read"))?;
        Ok(Progress { reading, published: Instant::now() })
    }

    /// Keeps reading its log, so that it never waits for a reader. Never ends, unless the relay does.
    pub(crate) async fn follow(&mut self) -> Outcome<()> {
        while let Some(line) = self.log.next_line().await? {
            if parse(&line).is_none() {
                self.remember(line);
            }
        }
        Err(self.failure("it ended"))
    }

    pub(crate) fn usage(&self) -> Usage {
        self.process.usage()
    }

    pub(crate) async fn end(self) {
        self.process.end(END_LIMIT).await;
    }

    fn remember(&mut self, line: String) {
        if self.remembered.len() == REMEMBERED_LINES_MAX {
            self.remembered.pop_front();
        }
        self.remembered.push_back(line);
    }

    fn failure(&self, what: &str) -> crate::outcome::Failure {
        let said: Vec<_> = self.remembered.iter().map(String::as_str).collect();
        format!("the relay: {what}; its last log lines: {}", said.join(" | ")).into()
    }
}

/// Reads a line `TIME LEVEL TARGET: MESSAGE NAME=VALUE …`.
fn parse(line: &str) -> Option<LogLine> {
    let message = line.split_once("change_feed::")?.1;
    let message = message.split_once(": ")?.1;
    if message.starts_with("streaming") {
        Some(LogLine::Reading)
    } else if message.starts_with("resumed ") {
        Some(LogLine::Resumed)
    } else if message.starts_with("published") {
        let count = message.split_once("envelopes=")?.1;
        count.split_whitespace().next()?.parse().ok().map(LogLine::Published)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_shows_when_the_relay_reads_and_what_it_has_published() {
        let reading = "2026-11-23T06:00:00Z  INFO change_feed::source: streaming; 4096 bytes of WAL to catch up feed=a";
        let published =
            "2026-11-23T06:00:00Z DEBUG change_feed::relay: published feed=a envelopes=2000 position=1l-0-0-1";
        assert_eq!(parse(reading), Some(LogLine::Reading));
        assert_eq!(parse(published), Some(LogLine::Published(2000)));
        let continued = "2026 DEBUG change_feed::relay: published, to be continued feed=a envelopes=7";
        assert_eq!(parse(continued), Some(LogLine::Published(7)));
        assert_eq!(parse("2026 INFO change_feed::relay: resumed feed=a epoch=1"), Some(LogLine::Resumed));
        assert_eq!(parse("2026 INFO change_feed::relay: elected feed=a"), None);
        assert_eq!(parse("something else"), None);
    }

    #[test]
    fn a_plan_becomes_arguments_of_the_command() {
        let plan = Plan::to_kafka(Delivery::Transactional, Shape::Rows);
        assert_eq!(plan.topic("f"), "f.public.events");
        assert_eq!(
            plan.arguments("f").join(" "),
            "run --feed f --tables public.events --topic-prefix f --to kafka --delivery transactional"
        );
        let plan = Plan { to: To::Null, shape: Shape::Events };
        assert_eq!(plan.arguments("f").join(" "), "run --feed f --outbox public.events --topic f.events --to null");
    }
}
