//! The rig: the whole feed beside its rivals, on the same data and the same servers, with one command.
//!
//! ```sh
//! scripts/services up; eval "$(scripts/services env)"
//! cargo run --release -p benches --bin rig
//! ```
//!
//! `--help` says what it can be told, and the README of this package what each line of its table means.
//!
//! A *contender* drains a backlog (`draining`) out of a *dataset*: the relay as a process of its own (`relay`), PostgreSQL's
//! client (`recvlogical`), Debezium (`debezium`). Beside that are `large`, `latency` and `starting`. `report` makes of it all
//! the lines of the `table`.

mod contender;
mod dataset;
mod debezium;
mod draining;
mod figures;
mod kafka;
mod large;
mod latency;
mod machine;
mod options;
mod outcome;
mod postgres;
mod process;
mod recvlogical;
mod relay;
mod report;
mod rig;
mod starting;
mod table;
mod usage;

use std::process::ExitCode;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::machine::Machine;
use crate::options::{Options, Section};
use crate::outcome::{Outcome, chain};
use crate::report::{Measured, Report};
use crate::rig::Rig;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    // The load before anything is built or started.
    let machine = Machine::ask();
    let answer = tokio::select! {
        rig = Rig::find(Options::parse()) => rig,
        interrupted = interrupted() => Err(interrupted),
    };
    let answer = match answer {
        Ok(rig) => run(rig, machine).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rig: {}", chain(&*error as &dyn std::error::Error));
            ExitCode::FAILURE
        }
    }
}

async fn run(rig: Rig, machine: Machine) -> Outcome<()> {
    println!("{}", header(&rig, &machine));
    let measured = tokio::select! {
        measured = measure(&rig) => measured,
        interrupted = interrupted() => Err(interrupted),
    };
    // Programs that still ran were ended when what waited for them was dropped.
    rig.clean_up().await;
    let measured = measured?;
    let lines = measured.lines();
    println!("{}\n{}", table::table(&lines), measured.contenders());
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let report = Report { machine, postgres: rig.postgres.version.clone(), command, lines, measured };
    std::fs::write(&rig.json, serde_json::to_string_pretty(&report)? + "\n")?;
    println!("every run is in {}", rig.json.display());
    rig.is_whole()
}

async fn measure(rig: &Rig) -> Outcome<Measured> {
    let options = &rig.options;
    rig.postgres.create_role().await?;
    let mut measured = Measured::default();
    if options.wants(Section::Start) {
        measured.starts = starting::measure(rig).await;
    }
    if options.wants(Section::Latency) {
        measured.latencies = latency::measure(rig).await;
    }
    if options.wants(Section::Drain) {
        measured.drains = draining::measure(rig).await?;
    }
    if options.wants(Section::Large) {
        measured.large = large::measure(rig).await?;
    }
    Ok(measured)
}

fn header(rig: &Rig, machine: &Machine) -> String {
    let Machine { date, cpu, cores, kernel, load } = machine;
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    let warning = if machine.is_quiet() { "" } else { "\nThe machine is NOT QUIET: look at ratios, not at figures." };
    let rival =
        if rig.debezium.is_some() { "; Kafka Connect and Debezium as in benches/rig/debezium/pom.xml" } else { "" };
    format!(
        "{date}, {cores} cores of {cpu}, Linux {kernel}, load {load} at the start.{warning}\n\
         PostgreSQL {}, librdkafka {librdkafka}{rival}. {} rows a backlog, medians of {} runs.\n",
        rig.postgres.version, rig.options.rows, rig.options.runs
    )
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() -> outcome::Failure {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    "interrupted".into()
}
