#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! `arguments` is what a user may say, on the command line (`settings`) or in a file (`file`); `plan` is what it comes
//! to, checked; `feed` runs it, and `ended` tells the shell.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;
mod arguments;
mod chain;
mod ended;
mod feed;
mod file;
mod null;
mod plan;
mod settings;
mod signals;
mod status_line;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::arguments::{Arguments, Verb};
use crate::ended::{Ended, failed};
use crate::plan::Plan;

/// Calls to a broker that is away must not hold up the end of the program.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let Arguments { verb: Verb::Run(run) } = Arguments::parse();
    let plan = match Plan::from_arguments(run) {
        Ok(plan) => plan,
        Err(error) => return Ended::WrongUsage(error).tell(),
    };
    // The line of a terminal says what a log would: there only what needs somebody is logged.
    let shows_line = std::io::stderr().is_terminal() && std::env::var_os("RUST_LOG").is_none();
    let level = if shows_line { LevelFilter::WARN } else { LevelFilter::INFO };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed("the program can't start", error).tell(),
    };
    // On a worker, which waits for the sockets itself. On this thread every message from the server would switch threads
    // twice: measured, it costs half of the speed of streaming.
    let ended = runtime.block_on(async { tokio::spawn(feed::run(plan, shows_line)).await });
    runtime.shutdown_timeout(LEFTOVERS_TIMEOUT);
    match ended {
        Ok(ended) => ended.tell(),
        Err(error) => failed("the feed did not end by itself", error).tell(),
    }
}
