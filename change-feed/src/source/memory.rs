//! A database that lives in memory, and the source that captures from it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Elected, Source, SourceError};
use crate::{
    Change, Changes, Checkpoint, Content, End, EventId, EventRecord, FeedName, Mismatch, Position, SourceIdentity,
    TransactionPlace,
};

/// The letter of this source's positions; their first word is the sequence number of a change.
const KIND: char = 'm';
/// The name that events of a [`MemoryDatabase`] give as their outbox.
const OUTBOX: &str = "memory.events";

/// A history of committed transactions in memory, with what feeds store beside it: for tests of
/// relays, publishers and consumers, and for programs that have no database.
///
/// Cloning gives another handle to the same database. Its memory grows with the history until
/// [`forget_through`](MemoryDatabase::forget_through) is called.
///
/// ```
/// use change_feed::source::{MemoryDatabase, MemoryEvent};
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

#[derive(Default)]
struct History {
    /// What was committed and is not forgotten, by sequence number.
    changes: VecDeque<Change>,
    /// The sequence number of the last commit.
    end: u64,
    /// Changes through this sequence number are gone.
    forgotten: u64,
    transactions: u64,
    versions: HashMap<Arc<str>, u64>,
    checkpoints: HashMap<FeedName, Checkpoint>,
    /// Which source is elected for a feed.
    elected: HashMap<FeedName, u64>,
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
        self.shared.moved.notify_waiters();
        position
    }

    /// Commits one transaction with exactly these records and returns its position. Without
    /// records it is a transaction that is of no concern to any feed: only the position moves.
    pub fn commit_records(&self, records: impl IntoIterator<Item = EventRecord>) -> Position {
        let records = records.into_iter().collect();
        let position = self.history().append(records);
        self.shared.moved.notify_waiters();
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
        self.shared.moved.notify_waiters();
    }

    fn history(&self) -> MutexGuard<'_, History> {
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

/// An event to be committed in a [`MemoryDatabase`], which gives it its version, id and time.
#[derive(Debug, Clone)]
pub struct MemoryEvent {
    key: Arc<str>,
    event_type: Arc<str>,
    payload: Bytes,
}

impl MemoryEvent {
    /// An event of the aggregate with this key, of type `memory.changed.v1` and with the payload `{}`.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Self { key: key.into(), event_type: Arc::from("memory.changed.v1"), payload: Bytes::from_static(b"{}") }
    }

    /// Of this type.
    #[must_use]
    pub fn event_type(self, event_type: impl Into<Arc<str>>) -> Self {
        Self { event_type: event_type.into(), ..self }
    }

    /// With this payload (JSON).
    #[must_use]
    pub fn payload(self, payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..self }
    }
}

impl From<&str> for MemoryEvent {
    fn from(key: &str) -> Self {
        Self::new(key)
    }
}

impl From<String> for MemoryEvent {
    fn from(key: String) -> Self {
        Self::new(key)
    }
}

/// Captures what is committed in a [`MemoryDatabase`].
///
/// Of several sources of one feed one is elected; the next one's turn comes when it is released,
/// dropped or [deposed](MemoryDatabase::depose).
///
/// ```
/// use change_feed::source::{MemoryDatabase, MemorySource};
/// use change_feed::{FeedName, Position, Source};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let database = MemoryDatabase::new();
/// database.commit(["order-1"]);
/// let source = MemorySource::new(&database, &FeedName::new("orders")?);
/// source.elect().await?;
/// source.start(&Position::ORIGIN).await?;
/// assert_eq!(source.next().await?.changes.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MemorySource {
    database: MemoryDatabase,
    feed: FeedName,
    /// Tells this source from others of its feed.
    id: u64,
    max_run_changes: usize,
    /// The sequence number through which changes were given; `None` before a start.
    cursor: Mutex<Option<u64>>,
}

impl MemorySource {
    /// The default of [`max_run_changes`](MemorySource::max_run_changes).
    pub const DEFAULT_MAX_RUN_CHANGES: usize = 1000;

    /// Captures for `feed` from `database`.
    pub fn new(database: &MemoryDatabase, feed: &FeedName) -> Self {
        static SOURCES: AtomicU64 = AtomicU64::new(0);
        Self {
            database: database.clone(),
            feed: feed.clone(),
            id: SOURCES.fetch_add(1, Ordering::Relaxed),
            max_run_changes: Self::DEFAULT_MAX_RUN_CHANGES,
            cursor: Mutex::new(None),
        }
    }

    /// Gives at most this many changes at a time (0 is taken as 1): as many whole transactions as
    /// fit, or a piece of one that is larger.
    #[must_use]
    pub fn max_run_changes(mut self, max_run_changes: usize) -> Self {
        self.max_run_changes = max_run_changes.max(1);
        self
    }

    /// The next run, if there is one.
    fn take(&self) -> Result<Option<Changes>, SourceError> {
        let mut cursor = self.cursor();
        let history = self.database.history();
        self.check_elected(&history)?;
        let after = cursor.ok_or_else(|| SourceError::transient("next was called before start"))?;
        let run = history.run_after(after, self.max_run_changes);
        if let Some((_, through)) = &run {
            *cursor = Some(*through);
        }
        Ok(run.map(|(run, _)| run))
    }

    fn check_elected(&self, history: &History) -> Result<(), SourceError> {
        if history.elected.get(&self.feed) == Some(&self.id) {
            Ok(())
        } else {
            Err(SourceError::transient("this source is not the elected one of its feed"))
        }
    }

    fn give_up(&self) {
        let mut history = self.database.history();
        if history.elected.get(&self.feed) == Some(&self.id) {
            history.elected.remove(&self.feed);
            self.database.shared.moved.notify_waiters();
        }
    }

    fn cursor(&self) -> MutexGuard<'_, Option<u64>> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn elect(&self) -> Result<Elected, SourceError> {
        loop {
            // Registered before the look, so that nothing is missed between look and wait.
            let moved = self.database.shared.moved.notified();
            {
                let mut history = self.database.history();
                let is_new = !history.elected.contains_key(&self.feed);
                let holder = *history.elected.entry(self.feed.clone()).or_insert(self.id);
                if holder == self.id {
                    return Ok(Elected {
                        identity: SourceIdentity {
                            kind: "memory".to_owned(),
                            system: self.database.shared.system.clone(),
                            captures: OUTBOX.to_owned(),
                        },
                        checkpoint: history.checkpoints.get(&self.feed).cloned(),
                        is_new,
                    });
                }
            }
            moved.await;
        }
    }

    async fn start(&self, after: &Position) -> Result<(), SourceError> {
        let mut cursor = self.cursor();
        let history = self.database.history();
        self.check_elected(&history)?;
        history.check_start(after)?;
        *cursor = Some(after.major());
        Ok(())
    }

    async fn next(&self) -> Result<Changes, SourceError> {
        loop {
            let moved = self.database.shared.moved.notified();
            if let Some(run) = self.take()? {
                return Ok(run);
            }
            moved.await;
        }
    }

    async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError> {
        let mut history = self.database.history();
        self.check_elected(&history)?;
        let stored = history.checkpoints.get(&self.feed);
        if stored.is_none_or(|stored| !checkpoint.is_older_than(stored)) {
            history.checkpoints.insert(self.feed.clone(), checkpoint.clone());
        }
        Ok(())
    }

    async fn release(&self) {
        self.give_up();
    }
}

impl Drop for MemorySource {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl History {
    fn append(&mut self, records: Vec<EventRecord>) -> Position {
        self.transactions += 1;
        let last = records.len().saturating_sub(1);
        if records.is_empty() {
            self.end += 1;
        }
        for (index, event) in records.into_iter().enumerate() {
            self.end += 1;
            self.changes.push_back(Change {
                position: place(self.end),
                transaction: Some(if index == last {
                    TransactionPlace::last(self.transactions, clamped(last + 1))
                } else {
                    TransactionPlace::new(self.transactions, clamped(index))
                }),
                content: Content::Event(event),
            });
        }
        place(self.end)
    }

    /// The index of the first change after a sequence number.
    fn first_after(&self, sequence: u64) -> usize {
        self.changes.partition_point(|change| change.position.major() <= sequence)
    }

    /// At most `max` changes after a sequence number, and the sequence number through which they go.
    fn run_after(&self, after: u64, max: usize) -> Option<(Changes, u64)> {
        if after >= self.end {
            return None;
        }
        let first = self.first_after(after);
        let limit = self.changes.len().min(first.saturating_add(max));
        let whole = self.changes.range(first..limit).rposition(ends_transaction);
        let (count, through) = match whole {
            Some(last) if first + last + 1 == self.changes.len() => (last + 1, self.end),
            Some(last) => (last + 1, self.changes[first + last].position.major()),
            None if first == limit => (0, self.end),
            None => (limit - first, self.changes[limit - 1].position.major()),
        };
        let end = match whole {
            None if count > 0 => End::Continues,
            _ => End::Complete(place(through)),
        };
        let changes = self.changes.range(first..first + count).cloned().collect();
        Some((Changes { changes, end }, through))
    }

    fn check_start(&self, after: &Position) -> Result<(), Mismatch> {
        let gone = |detail: &str| Err(Mismatch::SourceGone { position: after.clone(), detail: detail.to_owned() });
        if after.kind().is_some_and(|kind| kind != KIND) {
            return gone("the position was made by a source of another kind");
        }
        if after.major() > self.end {
            return Err(Mismatch::SourceBehind { position: after.clone(), source_end: place(self.end) });
        }
        if after.major() < self.forgotten {
            return gone("they were forgotten");
        }
        let before = self.first_after(after.major()).checked_sub(1);
        match before.map(|index| &self.changes[index]) {
            Some(change) if change.position == *after && !ends_transaction(change) => {
                gone("the position is in the middle of a transaction")
            }
            _ => Ok(()),
        }
    }
}

fn ends_transaction(change: &Change) -> bool {
    change.transaction.is_some_and(|place| place.count.is_some())
}

fn place(sequence: u64) -> Position {
    match sequence {
        0 => Position::ORIGIN,
        _ => Position::new(KIND, sequence, 0),
    }
}

/// A transaction of more changes than fit into 32 bits doesn't fit into memory either.
fn clamped(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn feed() -> FeedName {
        FeedName::new("orders").expect("a valid name")
    }

    async fn started(database: &MemoryDatabase, max_run_changes: usize, after: &Position) -> MemorySource {
        let source = MemorySource::new(database, &feed()).max_run_changes(max_run_changes);
        source.elect().await.expect("elected");
        source.start(after).await.expect("started");
        source
    }

    async fn sizes(source: &MemorySource) -> Vec<(usize, Option<u64>)> {
        let mut sizes = Vec::new();
        while let Some(run) = source.next().now_or_never() {
            let run = run.expect("a run");
            sizes.push((run.changes.len(), run.end.position().map(Position::major)));
        }
        sizes
    }

    #[tokio::test]
    async fn whole_transactions_share_a_run_and_a_large_one_comes_in_pieces() {
        let database = MemoryDatabase::new();
        database.commit(["a", "b"]);
        database.commit(["a"]);
        database.commit(["a", "b", "c", "d", "e", "f", "g"]);
        database.commit(["a"]);
        let source = started(&database, 3, &Position::ORIGIN).await;
        assert_eq!(sizes(&source).await, [(3, Some(3)), (3, None), (3, None), (2, Some(11))]);
    }

    #[tokio::test]
    async fn a_transaction_of_no_concern_moves_the_position() {
        let database = MemoryDatabase::new();
        database.commit_records([]);
        let source = started(&database, 3, &Position::ORIGIN).await;
        assert_eq!(sizes(&source).await, [(0, Some(1))]);
        database.commit(["a"]);
        database.commit_records([]);
        assert_eq!(sizes(&source).await, [(1, Some(3))]);
    }

    #[tokio::test]
    async fn a_start_gives_what_follows_the_position() {
        let database = MemoryDatabase::new();
        let first = database.commit(["a"]);
        database.commit(["b"]);
        let source = started(&database, 3, &first).await;
        let run = source.next().await.expect("a run");
        assert_eq!(run.changes.len(), 1);
        assert_eq!(run.end, End::Complete(database.end()));
    }

    #[tokio::test]
    async fn a_start_that_can_not_be_proved_fails_closed() {
        let database = MemoryDatabase::new();
        database.commit(["a", "b"]);
        let forgotten = database.commit(["a"]);
        let source = started(&database, 3, &Position::ORIGIN).await;
        database.forget_through(&forgotten);
        for position in [place(99), place(1), Position::new('x', 2, 0), Position::ORIGIN] {
            let refused = source.start(&position).await.expect_err("refused");
            assert!(matches!(refused, SourceError::Closed(_)), "{position}: {refused}");
        }
        assert!(source.start(&forgotten).await.is_ok());
    }

    #[tokio::test]
    async fn a_position_inside_a_transaction_is_no_place_to_start() {
        let database = MemoryDatabase::new();
        database.commit(["a", "b"]);
        let source = started(&database, 3, &Position::ORIGIN).await;
        assert!(source.start(&place(1)).await.is_err());
    }

    #[tokio::test]
    async fn one_source_of_a_feed_is_elected_and_the_next_follows_it() {
        let database = MemoryDatabase::new();
        let first = started(&database, 3, &Position::ORIGIN).await;
        let second = MemorySource::new(&database, &feed());
        assert!(second.elect().now_or_never().is_none());
        assert!(first.elect().now_or_never().is_some());
        let waiting = second.elect();
        first.release().await;
        assert!(waiting.now_or_never().is_some());
        let waiting = first.elect();
        drop(second);
        assert!(waiting.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_deposed_source_says_so_on_every_call() {
        let database = MemoryDatabase::new();
        let source = started(&database, 3, &Position::ORIGIN).await;
        database.depose(&feed());
        let next = source.next().await;
        assert!(matches!(next, Err(SourceError::Transient(_))), "{next:?}");
        assert!(source.start(&Position::ORIGIN).await.is_err());
    }

    #[tokio::test]
    async fn a_commit_wakes_a_waiting_source() {
        let database = MemoryDatabase::new();
        let source = started(&database, 3, &Position::ORIGIN).await;
        let mut next = source.next();
        assert!((&mut next).now_or_never().is_none());
        database.commit(["a"]);
        assert_eq!(next.await.expect("a run").changes.len(), 1);
    }
}
