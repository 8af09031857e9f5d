//! The feed of this process: it relays, stands by, or reports why it can't.

use std::pin::pin;
use std::time::Duration;

use change_feed::relay::{RelayState, RelayStatus};
use change_feed::{FeedName, Publisher, Relay, RelayError, Router, Source, SourceError};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::capture::Capture;
use crate::console::{chain, say, warn};
use crate::database::Database;

/// The pause before this relay stands by again, after another one took over or while the database is away.
const STANDBY_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after an error that somebody has to correct, like a missing right or topic.
const CORRECTION_INTERVAL: Duration = Duration::from_secs(15);
/// A relay that waits longer for the election stands by.
const ELECTION_INTERVAL: Duration = Duration::from_millis(500);
/// The CloudEvents attribute `source` of the events.
const EVENT_SOURCE: &str = "/storefront";

/// What a relay is made of, each time anew.
#[derive(Debug, Clone)]
pub(crate) struct FeedPlan {
    /// The name.
    pub(crate) name: FeedName,
    /// Where the events come from.
    pub(crate) database: Database,
    /// How they are captured there.
    pub(crate) capture: Capture,
    /// Where they go.
    pub(crate) broker: Broker,
    /// The topic there.
    pub(crate) topic: String,
}

/// A feed that runs until it is stopped.
#[derive(Debug)]
pub(crate) struct Feed {
    task: JoinHandle<FeedStatus>,
    watch: FeedWatch,
}

/// Shows the feed's status.
#[derive(Debug, Clone)]
pub(crate) struct FeedWatch(watch::Receiver<FeedStatus>);

/// How the feed is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FeedStatus {
    /// What it does.
    pub(crate) state: FeedState,
    /// The status of its relay, if there is one.
    pub(crate) relay: Option<RelayStatus>,
}

/// What a feed does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FeedState {
    /// It has not connected yet.
    Starting,
    /// Another storefront relays; this one takes over when that one ends.
    StandingBy,
    /// It publishes what is committed.
    Relaying,
    /// The broker or the database is away; it goes on by itself.
    Retrying {
        /// The error.
        cause: String,
    },
    /// Somebody must change the set-up; it is tried again from time to time.
    Failed {
        /// What is wrong, and what to do.
        cause: String,
    },
    /// It would lose or invent events if it went on: it fails closed until somebody acts.
    Closed {
        /// What does not fit.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// It ended in order. What was committed and not published is published at the next start.
    Stopped,
}

impl Feed {
    /// Starts to stand by, and to relay once it is elected.
    pub(crate) fn start(plan: FeedPlan, stop: CancellationToken) -> Self {
        let (board, status) = watch::channel(FeedStatus { state: FeedState::Starting, relay: None });
        let task = tokio::spawn(async move {
            let supervisor = Supervisor { plan, board, stop };
            supervisor.run().await
        });
        Self { task, watch: FeedWatch(status) }
    }

    /// Its status, now and later.
    pub(crate) fn watch(&self) -> FeedWatch {
        self.watch.clone()
    }

    /// Waits for its end, after it was stopped, and returns its last status.
    pub(crate) async fn ended(self) -> FeedStatus {
        match self.task.await {
            Ok(status) => status,
            Err(error) => FeedStatus { state: FeedState::Failed { cause: error.to_string() }, relay: None },
        }
    }
}

impl FeedWatch {
    /// A watch of a feed that does nothing.
    #[cfg(test)]
    pub(crate) fn of_no_feed() -> Self {
        Self(watch::channel(FeedStatus { state: FeedState::Stopped, relay: None }).1)
    }

    /// How the feed is now.
    pub(crate) fn status(&self) -> FeedStatus {
        self.0.borrow().clone()
    }

    /// Reports each change of the feed until it ends: trouble on standard error, and when it is over.
    pub(crate) async fn report(mut self) {
        let mut reported = FeedState::Starting;
        let (mut in_trouble, mut stood_by) = (false, false);
        while let Some(state) = self.other_than(&reported).await {
            match &state {
                FeedState::Closed { reason, remedy } => warn(format_args!(
                    "\n*** THE FEED HAS FAILED CLOSED. Orders are safe and go on; their events wait in the database.\n    \
                     why:    {reason}\n    remedy: {remedy}; then start the storefront again\n"
                )),
                FeedState::Failed { cause } if reported.name() != state.name() => warn(format_args!(
                    "\n*** THE FEED CAN'T RUN. Orders are safe and go on; their events wait in the database.\n    \
                     why: {cause}\n    It is tried again from time to time.\n"
                )),
                FeedState::Retrying { cause } if !in_trouble => warn(format_args!(
                    "feed: interrupted; orders go on, their events wait in the database and follow in order: {cause}"
                )),
                FeedState::Relaying if in_trouble => {
                    say("feed: it is back and publishes the events that waited, in order");
                }
                FeedState::Relaying if stood_by => say(format_args!("feed: {}", state.words())),
                FeedState::StandingBy => say(format_args!("feed: {}", state.words())),
                _ => {}
            }
            match state {
                FeedState::Retrying { .. } | FeedState::Failed { .. } => in_trouble = true,
                FeedState::StandingBy => (in_trouble, stood_by) = (false, true),
                FeedState::Relaying => (in_trouble, stood_by) = (false, false),
                _ => {}
            }
            reported = state;
        }
    }

    /// Waits until the feed is in another state than `state`; `None` when it has ended.
    async fn other_than(&mut self, state: &FeedState) -> Option<FeedState> {
        let status = self.0.wait_for(|status| status.state != *state).await.ok()?;
        Some(status.state.clone())
    }
}

impl FeedState {
    /// One word for programs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::StandingBy => "standing_by",
            Self::Relaying => "relaying",
            Self::Retrying { .. } => "retrying",
            Self::Failed { .. } => "failed",
            Self::Closed { .. } => "closed",
            Self::Stopped => "stopped",
        }
    }

    /// A sentence for people.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Starting => "starting".to_owned(),
            Self::StandingBy => {
                "standing by: another storefront relays; this one takes over when that one ends".to_owned()
            }
            Self::Relaying => "relaying: what is committed is published".to_owned(),
            Self::Retrying { cause } => {
                format!("interrupted; orders go on, and their events follow in order: {cause}")
            }
            Self::Failed { cause } => format!("can't run; orders go on, and their events wait: {cause}"),
            Self::Closed { reason, remedy } => {
                format!("failed closed; orders go on, and their events wait: {reason}; {remedy}")
            }
            Self::Stopped => "stopped".to_owned(),
        }
    }
}

impl FeedStatus {
    /// For programs and the page.
    pub(crate) fn to_json(&self) -> Value {
        let relay = self.relay.as_ref();
        json!({
            "state": self.state.name(),
            "words": self.state.words(),
            "position": relay.map(|relay| relay.position.to_string()),
            "published": relay.map(|relay| relay.envelopes),
            "withheld": relay.map(|relay| relay.withheld),
            "pending_bytes": relay.map(|relay| relay.pending_bytes),
            "last_error": relay.and_then(|relay| relay.last_error.clone()),
        })
    }

    /// Takes over the relay's status. An attempt to come back shows only once it has succeeded, and a short wait for the
    /// election does not count as standing by.
    fn follow(&mut self, relay: RelayStatus) {
        match &relay.state {
            RelayState::Standby => {}
            RelayState::Starting if matches!(self.state, FeedState::Retrying { .. } | FeedState::Failed { .. }) => {}
            RelayState::Starting => self.state = FeedState::Starting,
            RelayState::Running | RelayState::Paused => self.state = FeedState::Relaying,
            RelayState::Retrying { .. } => {
                self.state = FeedState::Retrying { cause: relay.last_error.clone().unwrap_or_default() };
            }
            // How it ended is the result of `run`.
            _ => {}
        }
        self.relay = Some(relay);
    }
}

struct Supervisor {
    plan: FeedPlan,
    board: watch::Sender<FeedStatus>,
    stop: CancellationToken,
}

/// What happens after a relay has ended.
enum After {
    /// Another one, after a pause.
    Again(FeedState, Duration),
    /// Nothing until somebody restarts the storefront, or the end.
    Rest(FeedState),
}

impl Supervisor {
    async fn run(self) -> FeedStatus {
        loop {
            let after = match self.relay().await {
                Ok(()) => After::Rest(FeedState::Stopped),
                Err(after) => after,
            };
            let (state, pause) = match after {
                After::Again(state, pause) => (state, Some(pause)),
                After::Rest(state) => (state, None),
            };
            self.enter(state);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.board.borrow().clone(),
                () = rest(pause) => {}
            }
        }
    }

    /// Runs one relay to its end.
    async fn relay(&self) -> Result<(), After> {
        let FeedPlan { name, database, capture, broker, topic } = &self.plan;
        let source = capture.source(database, name).await?;
        let publisher = broker.publisher(name).map_err(|error| failed(chain(&error)))?;
        let router = Router::to_topic(topic.as_str()).source(EVENT_SOURCE);
        let relay: Relay<Box<dyn Source>, Box<dyn Publisher>> = Relay::new(name.clone(), source, router, publisher);
        let handle = relay.handle();
        let mut run = pin!(relay.run(self.stop.clone().cancelled_owned()));
        let mut last = handle.status();
        loop {
            let stands_by = last.state == RelayState::Standby;
            tokio::select! {
                biased;
                ended = run.as_mut() => return ended.map(drop).map_err(After::from),
                status = handle.wait_until(|status| *status != last) => {
                    last = status.clone();
                    self.board.send_modify(|board| board.follow(status));
                }
                () = sleep(ELECTION_INTERVAL), if stands_by => self.enter(FeedState::StandingBy),
            }
        }
    }

    fn enter(&self, state: FeedState) {
        self.board.send_if_modified(|status| {
            let is_news = status.state != state;
            status.state = state;
            is_news
        });
    }
}

async fn rest(pause: Option<Duration>) {
    match pause {
        Some(pause) => sleep(pause).await,
        None => std::future::pending().await,
    }
}

impl From<RelayError> for After {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Fenced => Self::Again(FeedState::StandingBy, STANDBY_INTERVAL),
            RelayError::Closed { reason, remedy } => {
                Self::Rest(FeedState::Closed { reason: reason.to_string(), remedy })
            }
            error => failed(chain(&error)),
        }
    }
}

impl From<SourceError> for After {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Transient(cause) => {
                Self::Again(FeedState::Retrying { cause: chain(&*cause) }, STANDBY_INTERVAL)
            }
            SourceError::Closed(mismatch) => RelayError::from(mismatch).into(),
            error => failed(chain(&error)),
        }
    }
}

fn failed(cause: String) -> After {
    After::Again(FeedState::Failed { cause }, CORRECTION_INTERVAL)
}
