//! The source on an outbox of SQLite.

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use sqlx::sqlite::SqlitePool;
use tokio::sync::{Mutex, MutexGuard};

use super::database;
use super::database::Database;
use super::election::Election;
use super::reader;
use super::reader::{Limits, Reader, highest_ever};
use super::state;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::{FeedName, SourceIdentity};
use crate::feed::part::Changes;
use crate::outbox::pace::Pace;
use crate::outbox::pace::Wake;
use crate::outbox::table::Outbox;
use crate::source::SourceError;
use crate::source::{Elected, Lag, Source, Start};

/// Captures an outbox of SQLite by its sequence: see [the module](super) for what it promises.
///
/// ```no_run
/// # async fn poll() -> Result<(), Box<dyn std::error::Error>> {
/// use change_feed::outbox::Outbox;
/// use change_feed::{FeedName, SqliteOutboxSource};
///
/// let feed = FeedName::new("orders")?;
/// let outbox = Outbox::new("order_events", "order_id");
/// let source = SqliteOutboxSource::builder("sqlite:store.db", &feed).outbox(outbox).connect().await?;
/// let wake = source.waker(); // for writers in the same process: wake.wake() after a commit
/// # Ok(())
/// # }
/// ```
pub struct SqliteOutboxSource {
    database: Database,
    feed: FeedName,
    outbox: Outbox,
    limits: Limits,
    wake: Wake,
    capture: Mutex<Option<Capture>>,
    /// Has its own lock: an acknowledgement does not wait for a poll.
    held: Mutex<Option<Held>>,
}

/// The state of the reader.
struct Capture {
    pool: SqlitePool,
    path: PathBuf,
    reader: Reader,
    pace: Pace,
}

/// The state of an elected relay.
struct Held {
    election: Election,
    pool: SqlitePool,
    identity: SourceIdentity,
}

impl SqliteOutboxSource {
    /// The handle with which writers in this process wake the source.
    pub fn waker(&self) -> Wake {
        self.wake.clone()
    }

    pub(super) async fn connect(
        database: Database,
        feed: FeedName,
        outbox: Outbox,
        limits: Limits,
        wake: Wake,
    ) -> Result<Self, SourceError> {
        let pool = database.open().await?;
        database::path(&pool).await?;
        reader::inspect(&pool, &outbox).await?;
        if let Database::Own(_) = &database {
            pool.close().await;
        }
        Ok(Self { database, feed, outbox, limits, wake, capture: Mutex::new(None), held: Mutex::new(None) })
    }

    /// Locks the state of an elected relay, if its election still holds.
    async fn held(&self) -> Result<MutexGuard<'_, Option<Held>>, SourceError> {
        let mut held = self.held.lock().await;
        if let Some(now) = held.as_mut()
            && let Err(error) = now.election.confirm_from_time_to_time()
        {
            *held = None;
            tracing::warn!(target: "change_feed::source", feed = %self.feed, %error, "the election is lost");
            return Err(error);
        }
        Ok(held)
    }

    async fn require_held(&self) -> Result<(), SourceError> {
        match self.held().await?.as_ref() {
            Some(_) => Ok(()),
            None => Err(not_elected()),
        }
    }
}

fn not_elected() -> SourceError {
    SourceError::transient("this relay is not elected")
}

impl fmt::Debug for SqliteOutboxSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOutboxSource")
            .field("feed", &self.feed)
            .field("outbox", &self.outbox)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for SqliteOutboxSource {
    async fn elect(&self) -> Result<Elected, SourceError> {
        let mut capture = self.capture.lock().await;
        let mut held = self.held.lock().await;
        if let Some(now) = held.as_mut()
            && now.election.confirm().is_ok()
        {
            let checkpoint = state::checkpoint(&now.pool, &self.feed).await?;
            let identity = now.identity.clone();
            return Ok(Elected::new(identity, checkpoint).still_held());
        }
        (*held, *capture) = (None, None);
        let pool = self.database.open().await?;
        let path = database::path(&pool).await?;
        let election = Election::win(&path, &self.feed).await?;
        let has_baseline = reader::inspect(&pool, &self.outbox).await?;
        let identity = SourceIdentity::new("sqlite", state::create(&pool).await?, self.outbox.table());
        let checkpoint = state::checkpoint(&pool, &self.feed).await?;
        *capture = Some(Capture {
            pool: pool.clone(),
            path,
            reader: Reader::new(&self.outbox, self.limits, has_baseline),
            pace: Pace::new(),
        });
        *held = Some(Held { election, pool, identity: identity.clone() });
        Ok(Elected::new(identity, checkpoint))
    }

    async fn start(&self, start: &Start<'_>) -> Result<(), SourceError> {
        let mut capture = self.capture.lock().await;
        self.require_held().await?;
        let Some(Capture { pool, reader, pace, .. }) = capture.as_mut() else {
            return Err(not_elected());
        };
        reader.start(pool, start.position_without_baseline()?).await?;
        pace.active();
        Ok(())
    }

    async fn next(&self) -> Result<Changes, SourceError> {
        let mut capture = self.capture.lock().await;
        loop {
            self.require_held().await?;
            let Some(Capture { pool, path, reader, pace }) = capture.as_mut() else {
                return Err(not_elected());
            };
            pace.rest(&self.wake).await;
            match reader.poll(pool).await? {
                None => pace.idle(),
                Some(changes) => {
                    database::sync_log(path).await?;
                    reader.advance(&changes);
                    pace.active();
                    return Ok(changes);
                }
            }
        }
    }

    async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError> {
        let held = self.held().await?;
        let pool = held.as_ref().ok_or_else(not_elected)?.pool.clone();
        drop(held);
        state::store(&pool, self.outbox.table(), checkpoint).await
    }

    /// In changes, by the outbox's sequence.
    async fn lag(&self) -> Option<Lag> {
        let pool = self.held.lock().await.as_ref()?.pool.clone();
        let acknowledged = state::checkpoint(&pool, &self.feed).await.ok()?;
        let through = acknowledged.map_or(0, |acknowledged| acknowledged.position.major());
        let highest = highest_ever(&pool, self.outbox.table()).await.ok()?;
        Some(Lag::of_changes(highest.saturating_sub(through)))
    }

    async fn release(&self) {
        // A waiting `next` notices it when it wakes up.
        *self.held.lock().await = None;
    }
}
