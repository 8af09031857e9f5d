//! The storefront: the reference application of this workspace.
//!
//! Orders in a database that enforces their rules, their events in Kafka: in order, and exactly what committed. Users
//! change orders over HTTP or on a page (`http`); the database says yes or no (`database`); a relay publishes
//! what was committed (`feed`), and a consumer reads it back (`listener`, `journal`) for the page and for the clients
//! of `GET /events`.
//!
//! ```sh
//! cargo run --bin storefront                                        # no server: SQLite and a development broker
//! DATABASE_URL=postgres://… KAFKA_BROKERS=host:9092 cargo run --bin storefront
//! ```
//!
//! It plays one example order, shows each of its events, and serves until Ctrl-C or SIGTERM.

mod bookmark;
mod broker;
mod capture;
mod catch_up;
mod console;
mod database;
mod demo;
mod feed;
mod http;
mod journal;
mod listener;
mod options;
mod shutdown;
mod storefront;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::console::{chain, warn};
use crate::feed::FeedState;
use crate::options::{Options, Servers};

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const FAILED_CLOSED: u8 = 3;
/// Calls to a broker that is away must not hold up the end of the program.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let options = Options::parse();
    let checked = Servers::from_environment().and_then(|servers| options.check(&servers).map(|()| servers));
    let servers = match checked {
        Ok(servers) => servers,
        Err(error) => return failed(WRONG_USAGE, &error),
    };
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::ERROR.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(FAILED, &error),
    };
    let served = runtime.block_on(storefront::serve(options, servers));
    runtime.shutdown_timeout(LEFTOVERS_TIMEOUT);
    match served {
        Ok(FeedState::Closed { .. } | FeedState::Failed { .. }) => ExitCode::from(FAILED_CLOSED),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => failed(FAILED, &error),
    }
}

fn failed(code: u8, error: &(dyn std::error::Error + 'static)) -> ExitCode {
    warn(format_args!("storefront: {}", chain(error)));
    ExitCode::from(code)
}
