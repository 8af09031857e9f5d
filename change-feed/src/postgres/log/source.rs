//! The source: one elected stream, and what is called while it reads.

use std::fmt;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;

use super::assembler::RunLimits;
use super::log_position::LogPosition;
use super::server_state::ServerState;
use super::setup::Setup;
use super::slot::place_in;
use super::streaming::{StreamOutput, Streaming, key_of};
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::SourceIdentity;
use crate::feed::part::Changes;
use crate::feed::position::Position;
use crate::postgres::election::{Leadership, SILENCE_MAX, keep_alive, not_elected};
use crate::postgres::{election, state};
use crate::source::SourceError;
use crate::source::{Elected, Lag, Source, Start};
use postgres_replication::Confirmer;

/// Acknowledgements are written no more often than this: each is a commit of its own.
const ACKNOWLEDGE_INTERVAL_MS: u64 = 100;
/// Heartbeats from one check of the publication and the slot to the next.
const HEARTBEATS_PER_CHECK: u32 = 5;

/// The end of the log, in bytes: on a standby, of what it has replayed.
const LOG_END: &str = "select ((case when pg_is_in_recovery() then pg_last_wal_replay_lsn() \
    else pg_current_wal_flush_lsn() end) - '0/0'::pg_lsn)::bigint";

/// Captures what committed from PostgreSQL's log, by logical decoding: see [the module](crate::postgres::log) for what it
/// promises and needs.
///
/// ```no_run
/// # async fn capture() -> Result<(), Box<dyn std::error::Error>> {
/// use change_feed::outbox::Outbox;
/// use change_feed::{FeedName, LogicalSource};
///
/// let feed = FeedName::new("orders")?;
/// let source = LogicalSource::builder("postgres://feed@localhost/store", &feed)
///     .outbox(Outbox::new("order_events", "order_id"))
///     .tables(["public.customers"])
///     .create(true)
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
pub struct LogicalSource {
    shared: Arc<Shared>,
}

/// What the source shares with the task that keeps its election alive.
struct Shared {
    setup: Setup,
    limits: RunLimits,
    /// The session that holds the election.
    holding: Mutex<Option<Holding>>,
    streaming: Mutex<Option<Streaming>>,
    /// What is asked and written beside the stream. It is taken out while it is used: a call that is dropped leaves no half-sent
    /// statement behind, only a connection to open again.
    side: Mutex<Option<PgConnection>>,
    acknowledging: Mutex<Option<Instant>>,
    confirmer: StdMutex<Option<Confirmer>>,
    leadership: Leadership,
}

struct Holding {
    connection: PgConnection,
    /// The server's process that holds the lock.
    process: i32,
    facts: ServerState,
}

impl LogicalSource {
    /// The kind of source that the identity of its feeds names.
    pub const KIND: &str = super::KIND;

    pub(super) async fn connect(setup: Setup, limits: RunLimits) -> Result<Self, SourceError> {
        let mut connection = setup.server.connect(None).await?;
        let facts = setup.check(&mut connection).await?;
        if setup.creates {
            setup.make(&mut connection, &facts).await?;
        }
        let shared = Shared {
            setup,
            limits,
            holding: Mutex::new(None),
            streaming: Mutex::new(None),
            side: Mutex::new(Some(connection)),
            acknowledging: Mutex::new(None),
            confirmer: StdMutex::new(None),
            leadership: Leadership::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl fmt::Debug for LogicalSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { feed, selection, publication, slot, .. } = &self.shared.setup;
        f.debug_struct("LogicalSource")
            .field("feed", feed)
            .field("selection", selection)
            .field("publication", publication)
            .field("slot", slot)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for LogicalSource {
    async fn elect(&self) -> Result<Elected, SourceError> {
        let shared = &self.shared;
        if let Ok(held) = shared.leadership.generation()
            && Arc::clone(shared).confirm(held).await.is_ok()
        {
            let mut connection = shared.side().await?;
            let checkpoint = state::checkpoint(&shared.setup.server, &mut connection, &shared.setup.feed).await?;
            let identity = shared.identity().await.ok_or_else(not_elected)?;
            shared.give_back(connection).await;
            return Ok(Elected::new(identity, checkpoint).still_held());
        }
        shared.leadership.release();
        *shared.holding.lock().await = None;
        *lock(&shared.confirmer) = None;
        let (holding, generation, checkpoint) = shared.win().await?;
        let identity = shared.identity_at(&holding.facts);
        // What an earlier election has left is no part of this one.
        *shared.streaming.lock().await = None;
        *shared.holding.lock().await = Some(holding);
        shared.leadership.won(generation);
        tokio::spawn(keep_alive(Arc::downgrade(shared), move |shared, number| async move {
            shared.heartbeat(generation, number % HEARTBEATS_PER_CHECK == 0).await
        }));
        Ok(Elected::new(identity, checkpoint))
    }

    async fn start(&self, start: &Start<'_>) -> Result<(), SourceError> {
        let shared = &self.shared;
        shared.leadership.generation()?;
        let mut streaming = shared.streaming.lock().await;
        // The slot has one reader at a time.
        if let Some(streaming) = streaming.take() {
            streaming.close().await;
        }
        *lock(&shared.confirmer) = None;
        let mut connection = shared.side().await?;
        let started =
            Streaming::start(&shared.setup, &mut connection, shared.limits, start.position_without_baseline()?).await?;
        shared.give_back(connection).await;
        *lock(&shared.confirmer) = Some(started.confirmer());
        *streaming = Some(started);
        Ok(())
    }

    async fn next(&self) -> Result<Changes, SourceError> {
        let shared = &self.shared;
        let mut slot = shared.streaming.lock().await;
        let generation = shared.leadership.generation()?;
        let streaming =
            slot.as_mut().ok_or_else(|| SourceError::transient("the source has not been started at a position"))?;
        let given = loop {
            let given = tokio::select! {
                biased;
                () = shared.leadership.ended(generation) => return Err(shared.leadership.generation().err().unwrap_or_else(not_elected)),
                given = streaming.next() => given,
            };
            match given {
                Ok(StreamOutput::Changes(changes)) => break changes,
                Ok(StreamOutput::NeedsKey(oid)) => {
                    let mut connection = shared.side().await?;
                    let key = key_of(&shared.setup, &mut connection, oid).await?;
                    shared.give_back(connection).await;
                    streaming.learn_key(key);
                }
                Err(error) => {
                    // A stream that broke gives nothing more, and one that can't be understood comes again.
                    *slot = None;
                    return Err(error);
                }
            }
        };
        if !shared.leadership.needs_proof() {
            return Ok(given);
        }
        // This call may be dropped while it waits for the proof: the next one finds the changes then.
        streaming.keep(given);
        if let Err(error) = Arc::clone(shared).confirm(generation).await {
            *slot = None;
            return Err(error);
        }
        streaming.kept().ok_or_else(not_elected)
    }

    async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError> {
        let shared = &self.shared;
        let mut acknowledged_at = shared.acknowledging.lock().await;
        if let Some(last) = *acknowledged_at {
            tokio::time::sleep_until((last + Duration::from_millis(ACKNOWLEDGE_INTERVAL_MS)).into()).await;
        }
        let mine = shared.leadership.generation()?;
        let mut connection = shared.side().await?;
        let stored = state::store(&shared.setup.server, &mut connection, mine, checkpoint, None).await?;
        shared.give_back(connection).await;
        *acknowledged_at = Some(Instant::now());
        if !stored {
            shared.leadership.lose(mine, None, &shared.setup.feed);
            return Err(not_elected());
        }
        // Only now may the server forget it: the slot is never ahead of the table.
        if let (Some(place), Some(confirmer)) =
            (LogPosition::from_position(&checkpoint.position), &*lock(&shared.confirmer))
        {
            confirmer.confirm(place.lsn);
        }
        Ok(())
    }

    async fn lag(&self) -> Option<Lag> {
        let shared = &self.shared;
        let Setup { server, feed, .. } = &shared.setup;
        let ask = async {
            let mut connection = shared.side().await?;
            let acknowledged = state::checkpoint(server, &mut connection, feed).await?;
            let end: i64 = server.answer(sqlx::query_scalar(LOG_END).fetch_one(&mut connection)).await?;
            shared.give_back(connection).await;
            Ok::<_, SourceError>((acknowledged, end.unsigned_abs()))
        };
        let (acknowledged, end) = ask.await.ok()?;
        Some(Lag::of_bytes(end.saturating_sub(acknowledged?.position.major())))
    }

    async fn release(&self) {
        let shared = &self.shared;
        // A `next` that waits sees it, and lets go of the stream.
        shared.leadership.release();
        let Setup { server, feed, .. } = &shared.setup;
        if let Some(Holding { mut connection, .. }) = shared.holding.lock().await.take()
            && let Err(error) = election::release(server, &mut connection, feed).await
        {
            // Closing the connection, next, gives the lock up as well.
            tracing::debug!(target: "change_feed::source", %feed, %error, "released without an answer");
        }
        *lock(&shared.confirmer) = None;
        if let Some(streaming) = shared.streaming.lock().await.take() {
            streaming.close().await;
        }
        *shared.side.lock().await = None;
    }
}

/// Nothing that is done under these locks can panic half way.
fn lock<T>(mutex: &StdMutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Waits for the election, and makes what the feed needs.
    async fn win(&self) -> Result<(Holding, i64, Option<Checkpoint>), SourceError> {
        let Setup { server, feed, slot, .. } = &self.setup;
        let mut connection = server.connect(Some(SILENCE_MAX)).await?;
        let facts = self.setup.check(&mut connection).await?;
        let process = election::win(server, &mut connection, feed).await?;
        state::create(server, &mut connection).await?;
        let captures = captures(slot);
        let (generation, checkpoint) = state::begin_generation(server, &mut connection, feed, &captures).await?;
        let slot = self.setup.check_again(&mut connection, &facts).await?;
        if checkpoint.is_none() && slot.is_none() {
            return Err(self.setup.no_slot());
        }
        Ok((Holding { connection, process, facts }, generation, checkpoint))
    }

    fn identity_at(&self, facts: &ServerState) -> SourceIdentity {
        let system = format!("{}/{}", facts.system, facts.database_oid);
        SourceIdentity::new(LogicalSource::KIND, system, captures(&self.setup.slot))
    }

    async fn identity(&self) -> Option<SourceIdentity> {
        self.holding.lock().await.as_ref().map(|holding| self.identity_at(&holding.facts))
    }

    async fn side(&self) -> Result<PgConnection, SourceError> {
        let at_hand = self.side.lock().await.take();
        match at_hand {
            Some(connection) => Ok(connection),
            None => self.setup.server.connect(None).await,
        }
    }

    async fn give_back(&self, connection: PgConnection) {
        *self.side.lock().await = Some(connection);
    }

    /// Whether the election is still held. In a task of its own, since a half-sent question would spoil the session.
    async fn confirm(self: Arc<Self>, generation: i64) -> Result<(), SourceError> {
        let asking = tokio::spawn(async move { self.heartbeat(generation, false).await });
        asking.await.unwrap_or_else(|_| Err(not_elected()))
    }

    /// Sends a statement over the session that holds the election, and checks the set-up too where that is due.
    async fn heartbeat(&self, generation: i64, looks_at_set_up: bool) -> Result<(), SourceError> {
        let asked_at = Instant::now();
        let mut holding = self.holding.lock().await;
        if !self.leadership.holds(generation) {
            return Err(not_elected());
        }
        let Some(Holding { connection, process, facts }) = holding.as_mut() else {
            return Err(not_elected());
        };
        let answer = async {
            let query = sqlx::query_scalar("select pg_backend_pid()");
            let answered: i32 = self.setup.server.answer(query.fetch_one(&mut *connection)).await?;
            if answered != *process {
                return Err(SourceError::fatal(
                    "a connection pooler changes the server session under the feed, so the election means nothing",
                    "give the feed the server's own address",
                ));
            }
            if looks_at_set_up {
                let slot = self.setup.check_again(connection, facts).await?;
                let place = state::checkpoint(&self.setup.server, connection, &self.setup.feed).await?;
                let position = place.map_or(Position::ORIGIN, |checkpoint| checkpoint.position);
                let now = ServerState::read_primary(&self.setup.server, connection).await?;
                place_in(&self.setup.slot, slot.as_ref(), &now, &position)?;
            }
            Ok(())
        };
        match answer.await {
            Ok(()) => {
                self.leadership.prove(generation, asked_at);
                Ok(())
            }
            Err(error) => {
                *holding = None;
                let again = SourceError::transient(error.to_string());
                self.leadership.lose(generation, Some(error), &self.setup.feed);
                Err(again)
            }
        }
    }
}

fn captures(slot: &str) -> String {
    format!("slot {slot}")
}
