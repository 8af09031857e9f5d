//! Captures from a database that lives in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::Utc;

use super::database::MemoryDatabase;
use super::database::OUTBOX;
use super::history::History;
use crate::feed::change::Content;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::{FeedName, SourceIdentity};
use crate::feed::part::Changes;
use crate::feed::position::Position;
use crate::source::{Elected, Lag, Source, SourceError, Start};

/// Captures what is committed in a [`MemoryDatabase`].
///
/// Of several sources of one feed one is elected; the next one's turn comes when it is released,
/// dropped or [deposed](MemoryDatabase::depose).
///
/// ```
/// use change_feed::memory::{MemoryDatabase, MemorySource};
/// use change_feed::source::Start;
/// use change_feed::{Epoch, FeedName, Position, Source};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let database = MemoryDatabase::new();
/// database.commit(["order-1"]);
/// let source = MemorySource::new(&database, &FeedName::new("orders")?);
/// source.elect().await?;
/// source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await?;
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
    /// `None` before a start.
    cursor: Mutex<Option<Cursor>>,
}

/// How far a source has come.
#[derive(Debug)]
struct Cursor {
    /// Everything through this place was given.
    after: Position,
    wants_baseline: bool,
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
        let cursor = cursor.as_mut().ok_or_else(|| SourceError::transient("next was called before start"))?;
        let Cursor { after, wants_baseline } = cursor;
        let baseline = || history.baseline_after(&self.feed, after, self.max_run_changes).filter(|_| *wants_baseline);
        let Some((run, through)) = baseline().or_else(|| history.run_after(after, self.max_run_changes)) else {
            return Ok(None);
        };
        *after = through;
        Ok(Some(run))
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
            self.database.tell();
        }
    }

    fn cursor(&self) -> MutexGuard<'_, Option<Cursor>> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn elect(&self) -> Result<Elected, SourceError> {
        loop {
            // Registered before the look, so that nothing is missed between look and wait.
            let moved = self.database.moved();
            {
                let mut history = self.database.history();
                let is_new = !history.elected.contains_key(&self.feed);
                let holder = *history.elected.entry(self.feed.clone()).or_insert(self.id);
                if holder == self.id {
                    let identity = SourceIdentity::new("memory", self.database.system(), OUTBOX);
                    let elected = Elected::new(identity, history.checkpoints.get(&self.feed).cloned());
                    let rejoin = history.rejoins.get(&self.feed);
                    let elected = rejoin.map_or(elected.clone(), |rejoin| elected.rejoining(rejoin.epoch));
                    return Ok(if is_new { elected } else { elected.still_held() });
                }
            }
            moved.await;
        }
    }

    async fn start(&self, start: &Start<'_>) -> Result<(), SourceError> {
        let after = start.position();
        let mut cursor = self.cursor();
        let history = self.database.history();
        self.check_elected(&history)?;
        history.check_start(after)?;
        *cursor = Some(Cursor { after: after.clone(), wants_baseline: start.wants_baseline() });
        Ok(())
    }

    async fn next(&self) -> Result<Changes, SourceError> {
        loop {
            let moved = self.database.moved();
            if let Some(run) = self.take()? {
                return Ok(run);
            }
            moved.await;
        }
    }

    async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError> {
        let mut history = self.database.history();
        self.check_elected(&history)?;
        history.acknowledge(checkpoint);
        Ok(())
    }

    async fn lag(&self) -> Option<Lag> {
        let history = self.database.history();
        let acknowledged =
            history.checkpoints.get(&self.feed).map_or(Position::ORIGIN, |stored| stored.position.clone());
        let mut changes = history.changes_after(&acknowledged);
        let lag = Lag::of_changes(changes.len() as u64);
        let oldest = changes.next().and_then(|change| match &change.content {
            Content::Event(event) => (Utc::now() - event.occurred_at).to_std().ok(),
            Content::Row(_) => None,
        });
        Some(oldest.map_or(lag, |time| lag.since(time)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::identity::Epoch;
    use crate::feed::part::End;
    use crate::memory::history::place_of;
    use futures::FutureExt as _;

    fn feed() -> FeedName {
        FeedName::new("orders").expect("a valid name")
    }

    async fn started(database: &MemoryDatabase, max_run_changes: usize, after: &Position) -> MemorySource {
        let source = MemorySource::new(database, &feed()).max_run_changes(max_run_changes);
        source.elect().await.expect("elected");
        source.start(&Start::after(after, Epoch::FIRST)).await.expect("started");
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
        for position in [place_of(99), place_of(1), Position::new('x', 2, 0), Position::ORIGIN] {
            let refused = source.start(&Start::after(&position, Epoch::FIRST)).await.expect_err("refused");
            assert!(matches!(refused, SourceError::Closed(_)), "{position}: {refused}");
        }
        assert!(source.start(&Start::after(&forgotten, Epoch::FIRST)).await.is_ok());
    }

    #[tokio::test]
    async fn a_position_inside_a_transaction_is_no_place_to_start() {
        let database = MemoryDatabase::new();
        database.commit(["a", "b"]);
        let source = started(&database, 3, &Position::ORIGIN).await;
        assert!(source.start(&Start::after(&place_of(1), Epoch::FIRST)).await.is_err());
    }

    #[tokio::test]
    async fn chunks_stand_between_commits_and_each_end_is_a_place_to_start_from() {
        let database = MemoryDatabase::new();
        let commit = database.commit(["a", "b"]);
        let chunks = [database.add_chunk(["c", "d"]), database.add_chunk(["e"])];
        let next = database.commit(["f"]);
        assert!(commit < chunks[0] && chunks[0] < chunks[1] && chunks[1] < next);
        for (after, left) in [(&commit, 4), (&chunks[0], 2), (&chunks[1], 1), (&next, 0)] {
            let source = started(&database, 100, after).await;
            assert_eq!(sizes(&source).await.iter().map(|(changes, _)| changes).sum::<usize>(), left, "{after}");
        }
        let source = started(&database, 1, &commit).await;
        let inside = Position::chunk('m', commit.major(), 1);
        assert!(source.start(&Start::after(&inside, Epoch::FIRST)).await.is_err());
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
        assert!(source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.is_err());
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
