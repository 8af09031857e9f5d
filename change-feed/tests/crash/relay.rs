//! A process of this test as a relay.

use std::io::{Read as _, Write as _};
use std::process::exit;
use std::time::Duration;

use change_feed::{
    KafkaPublisher, LogicalSource, PostgresPollSource, PublishError, Publisher, Relay, RelayError, RelayHandle,
    RelayState, Router, Source, SourceError, SqliteOutboxSource,
};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::assignment::{Assignment, Capture, Mode};
use super::flaw::{Flaw, Hasty, Tardy};
use super::ledger::Ledger;

/// The exit code of a relay that another one has replaced.
pub(crate) const FENCED: i32 = 10;
/// The exit code of a relay that ended as it was told to and left something behind for the next one.
pub(crate) const NOT_DRAINED: i32 = 13;
/// The exit code of a relay that ended for any other reason than a shutdown.
const FAILED: i32 = 11;
/// The exit code of a relay whose test is gone.
const ORPHANED: i32 = 12;

/// What goes before a [`Status`] on the standard output: the test harness writes there, too.
pub(crate) const STATUS: &str = "@relay ";
/// A relay tells its status so often at most.
const STATUS_INTERVAL: Duration = Duration::from_millis(10);
const PARTITIONS: u32 = 6;
/// How long Kafka keeps a relay's transaction open: the least that a loaded machine can do with. Readers wait as long for
/// what a killed relay leaves behind.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// What a relay process tells of itself, as JSON on a line of its standard output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) state: State,
    pub(crate) envelopes: u64,
    pub(crate) position: String,
    pub(crate) last_error: Option<String>,
}

/// What a relay process does, as far as it has said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum State {
    /// It has not said anything yet.
    #[default]
    Silent,
    Standby,
    Starting,
    Running,
    Retrying,
    Stopped,
}

/// Is a relay until it is told to end, or can't go on.
pub(crate) fn run(assignment: &Assignment) -> ! {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("change_feed=debug,warn"))
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    if let Some(death) = assignment.death {
        death.await_this_process();
    }
    // The test holds the other end: it closes when the test is gone, however it went.
    std::thread::spawn(|| {
        let _: Result<usize, _> = std::io::stdin().read(&mut [0]);
        exit(ORPHANED);
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    exit(runtime.block_on(Box::pin(relay(assignment))))
}

async fn relay(assignment: &Assignment) -> i32 {
    let mut termination = signal(SignalKind::terminate()).expect("a handler of signals");
    let router = Router::to_topic(assignment.topic.as_str());
    let source = connect(assignment).await;
    let relay = Relay::new(assignment.feed.clone(), source, router, publisher(assignment));
    tokio::spawn(tell(relay.handle()));
    let shutdown = async {
        termination.recv().await;
    };
    match relay.run(shutdown).await {
        Ok(stopped) if stopped.drained => 0,
        Ok(_) => NOT_DRAINED,
        Err(RelayError::Fenced) => FENCED,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the relay ended");
            FAILED
        }
    }
}

/// As a supervisor does that starts a relay again until its server is there.
async fn connect(assignment: &Assignment) -> Box<dyn Source> {
    loop {
        match try_connect(assignment).await {
            Ok(source) if assignment.flaw == Some(Flaw::AcknowledgesTooLate) => return Box::new(Tardy(source)),
            Ok(source) => return source,
            Err(SourceError::Transient(error)) => {
                tracing::warn!(error = &*error as &dyn std::error::Error, "the database is not there");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the source can't be set up");
                exit(FAILED);
            }
        }
    }
}

async fn try_connect(assignment: &Assignment) -> Result<Box<dyn Source>, SourceError> {
    let Assignment { database_url, feed, .. } = assignment;
    Ok(match assignment.capture {
        Capture::PostgresPoll => {
            Box::new(PostgresPollSource::builder(database_url, feed).outbox(Ledger::outbox()).connect().await?)
        }
        Capture::PostgresLog => {
            let name = Ledger::publication_and_slot(database_url);
            let builder = LogicalSource::builder(database_url, feed).outbox(Ledger::outbox());
            Box::new(builder.publication(&name).slot(&name).connect().await?)
        }
        Capture::Sqlite => {
            Box::new(SqliteOutboxSource::builder(database_url, feed).outbox(Ledger::outbox()).connect().await?)
        }
    })
}

fn publisher(assignment: &Assignment) -> Box<dyn Publisher> {
    let builder = KafkaPublisher::builder(&assignment.brokers, &assignment.feed).create_topics(PARTITIONS);
    let builder = builder.transaction_timeout(TRANSACTION_TIMEOUT);
    let built = match assignment.mode {
        Mode::Transactional => builder.build(),
        Mode::Idempotent => builder.idempotent().build(),
    };
    let publisher: Result<KafkaPublisher, PublishError> = built;
    let publisher = publisher.expect("valid settings");
    match assignment.flaw {
        Some(Flaw::AcknowledgesTooEarly) => Box::new(Hasty::new(publisher)),
        _ => Box::new(publisher),
    }
}

/// Tells the test what the relay is doing.
async fn tell(handle: RelayHandle) {
    let mut told = Status::default();
    loop {
        let now = handle.wait_until(|status| seen(status) != told).await;
        told = seen(&now);
        let json = serde_json::to_string(&told).expect("a status is JSON");
        // A test that is gone reads nothing, and this process is about to end.
        let _: Result<(), _> = writeln!(std::io::stdout(), "{STATUS}{json}");
        tokio::time::sleep(STATUS_INTERVAL).await;
    }
}

fn seen(status: &change_feed::RelayStatus) -> Status {
    let state = match status.state {
        RelayState::Standby => State::Standby,
        RelayState::Starting => State::Starting,
        RelayState::Running => State::Running,
        RelayState::Retrying { .. } => State::Retrying,
        _ => State::Stopped,
    };
    let (position, last_error) = (status.position.to_string(), status.last_error.clone());
    Status { state, envelopes: status.envelopes, position, last_error }
}
