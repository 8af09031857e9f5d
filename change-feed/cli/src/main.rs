#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! `options` is what a user can give on the command line, `configuration_file` the same in a file; `plan` makes a checked
//! feed of them, `feed` runs it, and `outcome` reports how it ended.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;
mod configuration_file;
mod feed;
mod options;
mod outcome;
mod plan;
mod signals;
mod status_line;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::options::{Arguments, Verb};
use crate::outcome::Outcome;
use crate::plan::Plan;

/// How long the end of the program waits for calls to a broker that is away.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let Arguments { verb: Verb::Run(run) } = Arguments::parse();
    let plan = match Plan::from_arguments(run) {
        Ok(plan) => plan,
        Err(error) => return Outcome::from(error).report(),
    };
    // On a terminal the status line takes the place of the log: only what needs somebody is logged.
    let shows_line = std::io::stderr().is_terminal() && std::env::var_os("RUST_LOG").is_none();
    let level = if shows_line { LevelFilter::WARN } else { LevelFilter::INFO };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Outcome::failed("the program can't start", error).report(),
    };
    // As a task: a worker waits for the sockets itself. On this thread every message from the server would switch threads
    // twice, which costs half of the speed of streaming (measured).
    let outcome = runtime.block_on(async { tokio::spawn(feed::run(plan, shows_line)).await });
    runtime.shutdown_timeout(LEFTOVERS_TIMEOUT);
    match outcome {
        Ok(outcome) => outcome.report(),
        Err(error) => Outcome::failed("the feed broke off; report this as a fault of change-feed", error).report(),
    }
}
