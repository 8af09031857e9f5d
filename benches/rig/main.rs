//! The rig: the whole feed beside its rivals, on the same data and the same servers, with one command.
//!
//! ```sh
//! scripts/services up; eval "$(scripts/services env)"
//! cargo run --release -p benches --bin rig
//! ```
//!
//! `--help` lists its arguments; the README of this package says what each line of its table means.
//!
//! A *contender* drains a backlog (`draining`) out of a *dataset*: the relay as a process of its own (`relay`), PostgreSQL's
//! client (`recvlogical`), Debezium (`debezium`). `large`, `latency` and `starting` measure the rest. `measured` holds every
//! figure and computes the lines of the `table`; `summary` has the medians, which `plot` and `publication` show.

mod contender;
mod dataset;
mod debezium;
mod draining;
mod figures;
mod kafka;
mod large;
mod latency;
mod machine;
mod measured;
mod options;
mod outcome;
mod plot;
mod postgres;
mod process;
mod publication;
mod recvlogical;
mod relay;
mod report;
mod rig;
mod starting;
mod summary;
mod table;
mod usage;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::machine::Machine;
use crate::measured::Measured;
use crate::options::{Options, Section};
use crate::outcome::{Outcome, chain};
use crate::report::Report;
use crate::rig::Rig;
use crate::summary::Summary;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    // Before anything is built or started, which would count as load.
    let machine = Machine::ask();
    let options = Options::parse();
    let answer = match &options.from {
        Some(file) => show(file, &options),
        None => run(options, machine).await,
    };
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rig: {}", chain(&*error as &dyn std::error::Error));
            ExitCode::FAILURE
        }
    }
}

/// Shows a run that was measured before.
fn show(file: &Path, options: &Options) -> Outcome<()> {
    let report = Report::read(file)?;
    println!("{}", report.header());
    finish(&report, file, options)
}

/// Measures, and shows the run.
async fn run(options: Options, machine: Machine) -> Outcome<()> {
    let rig = tokio::select! {
        rig = Rig::find(options) => rig?,
        interrupted = interrupted() => return Err(interrupted),
    };
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let (postgres, kafka) = (rig.postgres.version.clone(), rig.kafka.version.clone());
    let mut report = Report { machine, postgres, kafka, command, lines: Vec::new(), measured: Measured::default() };
    println!("{}", report.header());
    let measured = tokio::select! {
        measured = measure(&rig) => measured,
        interrupted = interrupted() => Err(interrupted),
    };
    // Programs that still ran were ended when the measurement was dropped.
    rig.clean_up().await;
    report.measured = measured?;
    report.lines = report.measured.lines();
    report.write(&rig.json)?;
    finish(&report, &rig.json, &rig.options)?;
    println!("every run is in {}", rig.json.display());
    rig.is_whole()
}

/// Prints the tables and what is far from the README's figures, and writes the plot.
fn finish(report: &Report, json: &Path, options: &Options) -> Outcome<()> {
    println!("{}", report.tables());
    let (summary, reference) = (report.summary(), Summary::reference()?);
    let far = summary.far_from(&reference);
    if !far.is_empty() {
        let Machine { cpu, cores, kernel, .. } = &reference.machine;
        println!("WARNING: far from the README's figures, which are of {cores} cores of {cpu}, Linux {kernel}:");
        println!("  {}\n", far.join("\n  "));
    }
    if let Some(svg) = plot::svg(&summary) {
        let file = options.plot.clone().unwrap_or_else(|| json.with_extension("svg"));
        std::fs::write(&file, svg)?;
        println!("the plot is in {}", file.display());
    }
    if options.publish {
        publication::publish(&summary)?;
    }
    Ok(())
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
