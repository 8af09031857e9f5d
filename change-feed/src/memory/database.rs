//! A database that lives in memory.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use uuid::Uuid;

use super::event::MemoryEvent;
use super::history::{History, place};
use crate::feed::change::Change;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::event::{EventId, EventRecord};
use crate::feed::identity::FeedName;
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
        let mut history = self.history();
        let outbox: Arc<str> = Arc::from(OUTBOX);
        let mut records = Vec::new();
        for event in events {
            let event: MemoryEvent = event.into();
            let version = history.versions.entry(Arc::clone(&event.key)).or_default();
            *version += 1;
            records.push(EventRecord {
                outbox: Arc::clone(&outbox),
                event_id: EventId::new(Uuid::now_v7()),
                key: event.key,
                version: *version,
                event_type: event.event_type,
                payload: event.payload,
                occurred_at: Utc::now(),
                traceparent: None,
            });
        }
        let position = history.append(records);
        drop(history);
        self.tell();
        position
    }

    /// Commits one transaction with exactly these records and returns its position. Without
    /// records it is a transaction that is of no concern to any feed: only the position moves.
    pub fn commit_records(&self, records: impl IntoIterator<Item = EventRecord>) -> Position {
        let records = records.into_iter().collect();
        let position = self.history().append(records);
        self.tell();
        position
    }

    /// The position of the last commit.
    pub fn end(&self) -> Position {
        place(self.history().end)
    }

    /// Everything that was committed and not forgotten, in order.
    pub fn changes(&self) -> Vec<Change> {
        self.history().changes.iter().cloned().collect()
    }

    /// What was last acknowledged for a feed.
    pub fn checkpoint(&self, feed: &FeedName) -> Option<Checkpoint> {
        self.history().checkpoints.get(feed).cloned()
    }

    /// Drops what was committed through `position`: a feed that has not come that far fails closed.
    pub fn forget_through(&self, position: &Position) {
        let mut history = self.history();
        let through = position.major().min(history.end);
        let gone = history.first_after(through);
        history.changes.drain(..gone);
        history.forgotten = history.forgotten.max(through);
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
