//! What all sections share: the servers, the programs and the run's name.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::debezium::Debezium;
use crate::kafka::Kafka;
use crate::options::Options;
use crate::outcome::{Failure, Outcome, chain};
use crate::postgres::Postgres;
use crate::recvlogical::Recvlogical;
use crate::relay::RelayProgram;

/// The rig, ready to measure.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) options: Options,
    pub(crate) postgres: Postgres,
    pub(crate) kafka: Kafka,
    pub(crate) relay: RelayProgram,
    pub(crate) recvlogical: Recvlogical,
    pub(crate) debezium: Option<Debezium>,
    pub(crate) json: PathBuf,
    /// A folder for the files of this run.
    scratch: PathBuf,
    missing: Mutex<Vec<String>>,
}

impl Rig {
    /// Finds the servers and the programs. Creates nothing on the servers.
    pub(crate) async fn find(options: Options) -> Outcome<Self> {
        let run = run_name();
        let target = target_folder()?;
        let scratch = target.join("rig").join(&run);
        let postgres = Postgres::find(&run).await?;
        let kafka = Kafka::find(&run)?;
        let recvlogical = Recvlogical::find()?;
        let relay = RelayProgram::find(options.relay.as_deref(), &target).await?;
        let debezium = match options.debezium {
            true => Some(Debezium::install(&target.join("rig/debezium"), &scratch).await?),
            false => None,
        };
        let json = options.json.clone().unwrap_or_else(|| target.join("rig.json"));
        let missing = Mutex::default();
        Ok(Self { options, postgres, kafka, relay, recvlogical, debezium, json, scratch, missing })
    }

    /// Notes a measurement that failed. The others go on.
    pub(crate) fn miss(&self, what: &str, error: &Failure) {
        let words = format!("{what}: {}", chain(&**error as &dyn Error));
        eprintln!("rig: not measured: {words}");
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).push(words);
    }

    /// Fails if a measurement failed.
    pub(crate) fn is_whole(&self) -> Outcome<()> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.is_empty() { Ok(()) } else { Err(format!("not measured: {}", missing.join("; ")).into()) }
    }

    /// Removes what the run has created, and prints what it could not remove.
    pub(crate) async fn clean_up(&self) {
        let report = |what: &str, answer: Outcome<()>| {
            if let Err(error) = answer {
                eprintln!("rig: {what} of this run could not be removed: {}", chain(&*error as &dyn Error));
            }
        };
        report("slots and databases", self.postgres.clean_up().await);
        report("topics", self.kafka.clean_up().await);
        if self.scratch.exists() {
            report("files", std::fs::remove_dir_all(&self.scratch).map_err(Failure::from));
        }
    }
}

/// The prefix of every name on the servers: short, and different from that of every other run of this day on this machine.
fn run_name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("rig{:x}", now.as_millis() & 0xfff_ffff)
}

/// The folder that cargo builds into: the rig itself is in `release` or `debug` there.
fn target_folder() -> Outcome<PathBuf> {
    let program = env::current_exe()?;
    let folder = program.ancestors().nth(2).ok_or("the rig's own folder is unknown")?;
    Ok(folder.to_owned())
}
