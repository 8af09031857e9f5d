//! The source: one elected reader, and what is called while it reads.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;

use super::inspection::{has_baseline, inspect};
use super::limits::PollLimits;
use super::poll_progress::PollProgress;
use super::poll_session::PollSession;
use super::statements::Statements;
use super::window_reader::WindowReader;
use super::worker::{PollWorker, Task};
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::FeedName;
use crate::feed::part::Changes;
use crate::outbox::event_types::EventTypes;
use crate::outbox::pace::Wake;
use crate::outbox::table::Outbox;
use crate::postgres::election::{Leadership, SILENCE_MAX, keep_alive, not_elected};
use crate::postgres::server::Server;
use crate::postgres::{election, state};
use crate::source::SourceError;
use crate::source::{Elected, Lag, Source, Start};

/// Captures an outbox of PostgreSQL by polling, without replication rights: see [the module](crate::postgres::poll) for
/// what it promises.
///
/// An elected relay that is silent for 10 s, because its process is frozen, loses the election.
///
/// ```no_run
/// # async fn poll() -> Result<(), Box<dyn std::error::Error>> {
/// use change_feed::outbox::Outbox;
/// use change_feed::{FeedName, PostgresPollSource};
///
/// let feed = FeedName::new("orders")?;
/// let outbox = Outbox::new("order_events", "order_id");
/// let source = PostgresPollSource::builder("postgres://feed@localhost/store", &feed).outbox(outbox).connect().await?;
/// let wake = source.waker(); // for writers in the same process: wake.wake() after a commit
/// # Ok(())
/// # }
/// ```
pub struct PostgresPollSource {
    shared: Arc<Shared>,
}

/// What the source shares with the task that keeps its session alive.
struct Shared {
    server: Server,
    feed: FeedName,
    outbox: Outbox,
    statements: Arc<Statements>,
    limits: PollLimits,
    wake: Wake,
    worker: Mutex<PollWorker>,
    /// What is acknowledged goes over a connection of its own: it does not wait for a poll.
    acknowledging: Mutex<Option<PgConnection>>,
    leadership: Leadership,
}

impl PostgresPollSource {
    /// The handle by which writers in this process wake the source.
    pub fn waker(&self) -> Wake {
        self.shared.wake.clone()
    }

    pub(super) async fn connect(
        server: Server,
        feed: FeedName,
        outbox: Outbox,
        limits: PollLimits,
        wake: Wake,
    ) -> Result<Self, SourceError> {
        let mut connection = server.connect(None).await?;
        inspect(&server, &mut connection, &feed, &outbox).await?;
        let has_baseline = has_baseline(&server, &mut connection, &outbox).await?;
        let shared = Shared {
            statements: Arc::new(Statements::new(&outbox, has_baseline)),
            worker: Mutex::new(PollWorker::new()),
            acknowledging: Mutex::new(None),
            leadership: Leadership::new(),
            server,
            feed,
            outbox,
            limits,
            wake,
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl fmt::Debug for PostgresPollSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { feed, outbox, .. } = &*self.shared;
        f.debug_struct("PostgresPollSource").field("feed", feed).field("outbox", outbox).finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for PostgresPollSource {
    async fn elect(&self) -> Result<Elected, SourceError> {
        let shared = &*self.shared;
        let mut worker = shared.worker.lock().await;
        if let Some(elected) = shared.still_elected(&mut worker).await {
            return Ok(elected);
        }
        shared.leadership.release();
        *worker = PollWorker::new();
        let Shared { server, feed, .. } = shared;
        let mut connection = server.connect(Some(SILENCE_MAX)).await?;
        let identity = inspect(server, &mut connection, feed, &shared.outbox).await?;
        let holder = election::win(server, &mut connection, feed).await?;
        state::create(server, &mut connection).await?;
        let (generation, checkpoint) =
            state::begin_generation(server, &mut connection, feed, &identity.captures).await?;
        let outbox = Arc::from(identity.captures.as_str());
        let statements = Arc::clone(&shared.statements);
        let types = EventTypes::of(&shared.outbox);
        let session = PollSession::new(connection, server.clone(), statements, shared.limits, outbox, types, holder);
        *worker = PollWorker::elected(WindowReader::new(session, shared.limits), identity.clone());
        shared.leadership.won(generation);
        tokio::spawn(keep_alive(Arc::downgrade(&self.shared), move |shared, _| async move {
            shared.heartbeat(generation).await
        }));
        Ok(Elected::new(identity, checkpoint))
    }

    async fn start(&self, start: &Start<'_>) -> Result<(), SourceError> {
        let mut worker = self.shared.worker.lock().await;
        let started = worker.run(Task::Start(start.position_without_baseline()?.clone())).await;
        started.map_err(|error| self.shared.lose(&mut worker, error))
    }

    async fn next(&self) -> Result<Changes, SourceError> {
        let shared = &*self.shared;
        let mut worker = shared.worker.lock().await;
        loop {
            shared.leadership.generation()?;
            if let Some(changes) = worker.take_found() {
                return Ok(changes);
            }
            worker.rest(&shared.wake).await;
            if let Err(error) = worker.run(Task::Poll).await {
                return Err(shared.lose(&mut worker, error));
            }
        }
    }

    async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError> {
        let Shared { server, feed, leadership, .. } = &*self.shared;
        let mine = leadership.generation()?;
        // Taken out: a call that is dropped leaves no half-sent statement behind, only a connection to open again.
        let mut slot = self.shared.acknowledging.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => server.connect(None).await?,
        };
        let published = PollProgress::from_position(&checkpoint.position).map(|progress| progress.given().to_string());
        let still_elected = state::store(server, &mut connection, mine, checkpoint, published).await?;
        *slot = Some(connection);
        if still_elected {
            return Ok(());
        }
        leadership.lose(mine, None, feed);
        Err(not_elected())
    }

    /// In changes, by the outbox's sequence: numbers that a rollback has used up count too.
    async fn lag(&self) -> Option<Lag> {
        let Shared { server, feed, statements, .. } = &*self.shared;
        let mut slot = self.shared.acknowledging.lock().await;
        let at_hand = slot.take();
        let ask = async {
            let mut connection = match at_hand {
                Some(connection) => connection,
                None => server.connect(None).await?,
            };
            let acknowledged = state::checkpoint(server, &mut connection, feed).await?;
            let highest = sqlx::query_scalar(AssertSqlSafe(statements.highest_sequence.as_str()));
            let highest: Option<i64> = server.answer(highest.fetch_one(&mut connection)).await?;
            Ok::<_, SourceError>((connection, acknowledged, highest.unwrap_or_default().unsigned_abs()))
        };
        let (connection, acknowledged, highest) = ask.await.ok()?;
        *slot = Some(connection);
        let progress = acknowledged.and_then(|acknowledged| PollProgress::from_position(&acknowledged.position));
        let through = progress.and_then(|progress| progress.anchor()).map_or(0, |anchor| anchor.sequence);
        Some(Lag::of_changes(highest.saturating_sub(through)))
    }

    async fn release(&self) {
        let shared = &*self.shared;
        // A `next` that rests sees it when it wakes up, and lets go of the worker.
        shared.leadership.release();
        let mut worker = shared.worker.lock().await;
        if let Err(error) = worker.run(Task::Release(shared.feed.clone())).await {
            // Closing the connection, next, gives the lock up as well.
            tracing::debug!(target: "change_feed::source", feed = %shared.feed, %error, "released without an answer");
        }
        *worker = PollWorker::new();
        *shared.acknowledging.lock().await = None;
    }
}

impl Shared {
    /// What the election found where it was won before and is still held.
    async fn still_elected(&self, worker: &mut PollWorker) -> Option<Elected> {
        self.leadership.generation().ok()?;
        worker.run(Task::Recall(self.feed.clone())).await.ok()?;
        worker.recalled()
    }

    /// Gives the election up, since the session that holds it failed with this error.
    fn lose(&self, worker: &mut PollWorker, error: SourceError) -> SourceError {
        *worker = PollWorker::new();
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        if let Ok(generation) = self.leadership.generation() {
            self.leadership.lose(generation, Some(SourceError::transient(cause)), &self.feed);
        }
        error
    }

    /// Sends a statement over the session of this election. A call that holds the capture is about to send one itself.
    async fn heartbeat(&self, generation: i64) -> Result<(), SourceError> {
        if !self.leadership.holds(generation) {
            return Err(not_elected());
        }
        let Ok(mut worker) = self.worker.try_lock() else {
            return Ok(());
        };
        worker.run(Task::Confirm).await.map_err(|error| self.lose(&mut worker, error))
    }
}
