//! What an implementer of a source writes for the suite.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::conformance::rule::HarnessError;
use crate::feed::event::EventId;
use crate::feed::identity::{Epoch, FeedName};
use crate::source::Source;

/// How the suite makes sources of one kind, and what it may expect of them.
#[async_trait]
pub trait SourceHarness: Send + Sync {
    /// What sources of this kind claim to do.
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    /// A database that holds no event and knows no feed.
    async fn database(&self) -> Result<Box<dyn Database>, HarnessError>;
}

/// A database, and its writers.
#[async_trait]
pub trait Database: Send + Sync {
    /// A new source, as another process would make it for this feed.
    async fn source(&self, feed: &FeedName) -> Result<Box<dyn Source>, HarnessError>;

    /// Opens a transaction.
    async fn begin(&self) -> Result<Box<dyn Writer>, HarnessError>;

    /// Has a source give these events as a [chunk](crate::feed::position::Position::chunk) of a snapshot, after what is
    /// committed now. Only where the source claims to [give chunks](Capabilities::gives_chunks).
    async fn add_chunk(&self, events: &[NewEvent]) -> Result<(), HarnessError> {
        let _ = events;
        Err("this harness can't make chunks".into())
    }

    /// Records a rejoin of a feed that has acknowledged something, and gives its epoch. Only where the source claims to
    /// [rejoin](Capabilities::rejoins).
    async fn rejoin(&self, feed: &FeedName) -> Result<Epoch, HarnessError> {
        let _ = feed;
        Err("this harness can't record a rejoin".into())
    }
}

/// An open transaction of a writer.
#[async_trait]
pub trait Writer: Send {
    /// Appends events, in this order. The suite gives each key its versions 1, 2, 3 …, and writes
    /// to one key in one open transaction at a time.
    async fn append(&mut self, events: &[NewEvent]) -> Result<(), HarnessError>;

    /// Commits.
    async fn commit(self: Box<Self>) -> Result<(), HarnessError>;

    /// Rolls back.
    async fn roll_back(self: Box<Self>) -> Result<(), HarnessError>;
}

/// An event that the suite wants appended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NewEvent {
    /// The event's id.
    pub event_id: EventId,
    /// The aggregate's id: a UUID, as text.
    pub key: String,
    /// The version that the event closes.
    pub version: u64,
    /// The type, as the source is to give it.
    pub event_type: String,
    /// The payload: a JSON object.
    pub payload: String,
    /// When it happened, in whole milliseconds.
    pub occurred_at: DateTime<Utc>,
    /// The writer's trace context.
    pub traceparent: Option<String>,
}

/// What sources of one kind claim to do: claims add rules, limits take some of a rule back.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Capabilities {
    pub(super) concurrent_writers: bool,
    pub(super) tells_transactions: bool,
    pub(super) whole_transactions_up_to: usize,
    pub(super) refuses_positions_past_its_end: bool,
    pub(super) gives_chunks: bool,
    pub(super) rejoins: bool,
    pub(super) tells_lag: bool,
    pub(super) given_within: Duration,
    pub(super) call_limit: Duration,
}

impl Capabilities {
    /// Whole transactions of any size, and nothing else claimed.
    pub fn new() -> Self {
        Self {
            concurrent_writers: false,
            tells_transactions: false,
            whole_transactions_up_to: usize::MAX,
            refuses_positions_past_its_end: false,
            gives_chunks: false,
            rejoins: false,
            tells_lag: false,
            given_within: Duration::from_secs(20),
            call_limit: Duration::from_secs(60),
        }
    }

    /// The database can have several transactions open that have written.
    #[must_use]
    pub fn concurrent_writers(self) -> Self {
        Self { concurrent_writers: true, ..self }
    }

    /// Changes have their place in their transaction.
    #[must_use]
    pub fn tells_transactions(self) -> Self {
        Self { tells_transactions: true, ..self }
    }

    /// Its documentation says that what is committed at about the same time and has more changes
    /// than this may be split.
    #[must_use]
    pub fn whole_transactions_up_to(self, changes: usize) -> Self {
        Self { whole_transactions_up_to: changes, ..self }
    }

    /// A start past the end of the database, which a restored backup leads to, fails closed.
    #[must_use]
    pub fn refuses_positions_past_its_end(self) -> Self {
        Self { refuses_positions_past_its_end: true, ..self }
    }

    /// It gives chunks of snapshots between the changes of the stream.
    #[must_use]
    pub fn gives_chunks(self) -> Self {
        Self { gives_chunks: true, ..self }
    }

    /// A recorded rejoin is given at each election until the end of its baseline is acknowledged.
    #[must_use]
    pub fn rejoins(self) -> Self {
        Self { rejoins: true, ..self }
    }

    /// It tells how far it lags behind.
    #[must_use]
    pub fn tells_lag(self) -> Self {
        Self { tells_lag: true, ..self }
    }

    /// How long a source may take to give what is committed before the suite says that it is lost;
    /// 20 s unless set.
    #[must_use]
    pub fn given_within(self, given_within: Duration) -> Self {
        Self { given_within, ..self }
    }

    /// How long a call other than `next` may take before the suite says that it doesn't end; 60 s
    /// unless set.
    #[must_use]
    pub fn call_limit(self, call_limit: Duration) -> Self {
        Self { call_limit, ..self }
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::new()
    }
}
