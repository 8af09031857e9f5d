//! A database that lives in memory.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use uuid::Uuid;

use super::event::MemoryEvent;
use super::history::History;
use crate::feed::change::Change;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::event::{EventId, EventRecord};
use crate::feed::identity::{Epoch, FeedName};
use crate::feed::position::Position;

/// The name that events of a [`MemoryDatabase`] give as their outbox.
pub(super) const OUTBOX: &str = "memory.events";

/// A history of committed transactions in memory, with what feeds store beside it: for tests of
/// relays, publishers and consumers, and for programs that have no database.
///
/// Cloning gives another handle to the same database. Its memory grows with the history until
/// [`forget_through`](MemoryDatabase::forget_through) is called.
///
/// ```
/// use change_feed::memory::{MemoryDatabase, MemoryEvent};
///
/// let database = MemoryDatabase::new();
/// // One transaction with two events; the versions of a key are 1, 2, 3 …
/// let position = database.commit(["order-1", "order-2"]);
/// database.commit([MemoryEvent::new("order-1").payload(r#"{"sku":"milk"}"#)]);
/// assert!(position < database.end());
/// assert_eq!(database.changes().len(), 3);
/// ```
#[derive(Clone)]
pub struct MemoryDatabase {
    shared: Arc<Shared>,
}

struct Shared {
    system: String,
    history: Mutex<History>,
    /// Something was committed, or an election ended.
    moved: Notify,
}

impl MemoryDatabase {
    /// An empty database, different from every other.
    pub fn new() -> Self {
        let shared = Shared { system: Uuid::now_v7().to_string(), history: Mutex::default(), moved: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Commits one transaction with these events and returns its position. Each event takes the
    /// next version of its key, an id of its own and the present time.
    pub fn commit<E: Into<MemoryEvent>>(&self, events: impl IntoIterator<Item = E>) -> Position {
        let position = {
            let mut history = self.history();
            let records = records_of(events, &mut history);
            history.append(records)
        };
        self.tell();
        position
    }

    /// Adds a chunk of a snapshot with these events, each the next version of its key and marked as
    /// [read by a snapshot](crate::feed::change::Mark::Snapshot), and returns its end: a place to start from, after
    /// the last commit and before the next one.
    pub fn add_chunk<E: Into<MemoryEvent>>(&self, events: impl IntoIterator<Item = E>) -> Position {
        let position = {
            let mut history = self.history();
            let records = records_of(events, &mut history);
            history.append_chunk(records)
        };
        self.tell();
        position
    }

    /// Adds a chunk of a snapshot with exactly these records, and returns its end.
    pub fn add_chunk_of_records(&self, records: impl IntoIterator<Item = EventRecord>) -> Position {
        let records = records.into_iter().collect();
        let position = self.history().append_chunk(records);
        self.tell();
        position
    }

    /// Records a [rejoin](crate::source::Elected::rejoining) of a feed: it goes on here in the next epoch, which this
    /// returns, and with a baseline of every key. `None` for a feed that has acknowledged nothing.
    pub fn rejoin(&self, feed: &FeedName) -> Option<Epoch> {
        let epoch = self.history().rejoin(feed);
        self.tell();
        epoch
    }

    /// Commits one transaction with exactly these records and returns its position. Without
    /// records it is a transaction that is of no concern to any feed: only the position moves.
    pub fn commit_records(&self, records: impl IntoIterator<Item = EventRecord>) -> Position {
        let records = records.into_iter().collect();
        let position = self.history().append(records);
        self.tell();
        position
    }

    /// The position of the last commit or chunk.
    pub fn end(&self) -> Position {
        self.history().end()
    }

    /// Everything that was committed and not forgotten, in order.
    pub fn changes(&self) -> Vec<Change> {
        self.history().changes().cloned().collect()
    }

    /// What was last acknowledged for a feed.
    pub fn checkpoint(&self, feed: &FeedName) -> Option<Checkpoint> {
        self.history().checkpoints.get(feed).cloned()
    }

    /// Drops what was committed through `position`: a feed that has not come that far fails closed.
    pub fn forget_through(&self, position: &Position) {
        self.history().forget_through(position);
    }

    /// Ends the election of whichever source holds it for `feed`, as a lost connection would.
    pub fn depose(&self, feed: &FeedName) {
        self.history().elected.remove(feed);
        self.tell();
    }

    /// What tells it from every other.
    pub(super) fn system(&self) -> &str {
        &self.shared.system
    }

    /// Ends when something is committed or an election ends after this call.
    pub(super) fn moved(&self) -> Notified<'_> {
        self.shared.moved.notified()
    }

    pub(super) fn tell(&self) {
        self.shared.moved.notify_waiters();
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        // No code panics between two writes that belong together.
        self.shared.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn records_of<E: Into<MemoryEvent>>(events: impl IntoIterator<Item = E>, history: &mut History) -> Vec<EventRecord> {
    let outbox: Arc<str> = Arc::from(OUTBOX);
    let record = |event: E| {
        let MemoryEvent { key, event_type, payload } = event.into();
        let version = history.versions.entry(Arc::clone(&key)).or_default();
        *version += 1;
        let id = EventId::new(Uuid::now_v7());
        EventRecord::new(Arc::clone(&outbox), id, key, *version, event_type, payload, Utc::now())
    };
    events.into_iter().map(record).collect()
}

impl Default for MemoryDatabase {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDatabase").field("system", &self.shared.system).finish_non_exhaustive()
    }
}
