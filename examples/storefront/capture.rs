//! How the events are captured from the database: chosen at the feed's first start, and kept.

use std::time::Duration;

use change_feed::postgres::postgres_checkpoint;
use change_feed::{FeedName, LogicalSource, PostgresPollSource, Source, SourceError, SqliteOutboxSource};
use order_store::outbox;
use sqlx::PgPool;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::console::{chain, say};
use crate::database::{Database, DatabaseError};
use crate::options::SourceChoice;

/// With `--source auto`, the outbox is polled if the server hasn't made the slot after this time.
const SLOT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the transactions that the slot waits for are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long the server may take to give up making a slot.
const GIVE_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// How the events are captured from the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capture {
    /// From the log of PostgreSQL, by a replication slot.
    Log,
    /// From the outbox, by polling.
    Outbox,
}

impl Capture {
    /// How this feed is captured: as it began, or as the option says. Called before the first order is taken, since a slot
    /// gives what commits after it was made. `None` if a signal came first.
    pub(crate) async fn choose(
        database: &Database,
        feed: &FeedName,
        option: SourceChoice,
        closing: &CancellationToken,
    ) -> Result<Option<Self>, DatabaseError> {
        let Some((store, url)) = database.postgres() else {
            return Ok(Some(Self::Outbox));
        };
        let slot = NewSlot { pool: store.pool(), url, feed, closing };
        let chosen = match option {
            SourceChoice::Auto => match slot.choose().await {
                // The poller reports the same error, and meanwhile orders are taken.
                Err(SourceError::Fatal { .. }) => Ok(Some(Self::Outbox)),
                answer => answer,
            },
            SourceChoice::Poll => Ok(Some(Self::Outbox)),
            SourceChoice::Logical => slot.make(None).await.map(|made| made.then_some(Self::Log)),
        };
        chosen.map_err(|error| database.unusable("correct that, or poll the outbox with --source poll", error))
    }

    /// A source of this feed.
    pub(crate) async fn source(self, database: &Database, feed: &FeedName) -> Result<Box<dyn Source>, SourceError> {
        let wake = database.wake().clone();
        if let Some(url) = database.sqlite_url() {
            return Ok(Box::new(SqliteOutboxSource::builder(url, feed).outbox(outbox()).wake(wake).connect().await?));
        }
        let (_, url) =
            database.postgres().ok_or_else(|| SourceError::transient("the database is of an unknown kind"))?;
        match self {
            Self::Log => Ok(Box::new(LogicalSource::builder(url, feed).outbox(outbox()).connect().await?)),
            Self::Outbox => {
                Ok(Box::new(PostgresPollSource::builder(url, feed).outbox(outbox()).wake(wake).connect().await?))
            }
        }
    }
}

/// The replication slot of a feed that may be new.
struct NewSlot<'a> {
    pool: &'a PgPool,
    url: &'a str,
    feed: &'a FeedName,
    closing: &'a CancellationToken,
}

impl NewSlot<'_> {
    /// Chooses the log where the role may make a slot, else polling. A slot streams only what commits after it was made, so a
    /// new one is made only while the outbox is empty; polling gives every event.
    async fn choose(&self) -> Result<Option<Capture>, SourceError> {
        if let Some(checkpoint) = postgres_checkpoint(self.url, self.feed).await? {
            let is_logical = checkpoint.identity.source.kind == LogicalSource::KIND;
            return Ok(Some(if is_logical { Capture::Log } else { Capture::Outbox }));
        }
        let ask =
            "select exists (select from pg_replication_slots where slot_name = $1 and database = current_database())
            or not exists (select from order_events)";
        let fits = sqlx::query_scalar(ask).bind(self.feed.as_str()).fetch_one(self.pool).await;
        if !fits.map_err(SourceError::transient)? {
            return Ok(Some(Capture::Outbox));
        }
        match self.make(Some(SLOT_TIMEOUT)).await {
            Ok(true) => Ok(Some(Capture::Log)),
            Ok(false) if self.closing.is_cancelled() => Ok(None),
            Ok(false) => {
                say("feed: polls the outbox, because the server can't make the slot yet; orders are accepted");
                Ok(Some(Capture::Outbox))
            }
            Err(SourceError::Closed(unfit)) => {
                tracing::info!(%unfit, "polling the outbox, since the log can't be decoded");
                Ok(Some(Capture::Outbox))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the slot if it does not exist. The server first waits for every transaction that is open now, and this reports
    /// which. Returns false after the limit or a signal.
    async fn make(&self, limit: Option<Duration>) -> Result<bool, SourceError> {
        let (begun, mut waits_for) = (Instant::now(), None);
        // The source stops waiting at a limit of its own. This tries again while another transaction is open.
        loop {
            let builder = LogicalSource::builder(self.url, self.feed).outbox(outbox()).create(true);
            let mut making = Box::pin(builder.connect());
            let made = loop {
                tokio::select! {
                    made = &mut making => break Some(made),
                    () = self.closing.cancelled() => break None,
                    () = sleep(LOOK_INTERVAL) => {}
                }
                let now_waits_for = self.blocked_by().await;
                if now_waits_for.is_some() && now_waits_for != waits_for {
                    waits_for = now_waits_for;
                    if let Some(words) = &waits_for {
                        say(format_args!(
                            "feed: the server makes the replication slot after the end of {words}; orders are accepted"
                        ));
                    }
                }
                if waits_for.is_some() && limit.is_some_and(|limit| begun.elapsed() > limit) {
                    break None;
                }
            };
            match made {
                Some(Err(SourceError::Transient(_))) if waits_for.is_some() => waits_for = None,
                Some(made) => return made.map(|_| true),
                None => break,
            }
        }
        self.give_up().await;
        Ok(false)
    }

    /// Names the transaction that the server waits for before it makes the slot.
    async fn blocked_by(&self) -> Option<String> {
        let ask = "select coalesce('the transaction of process ' || blocker || ' (' ||
                concat_ws(', ', 'role ' || usename, nullif(application_name, '')) || ')', 'a prepared transaction')
            from pg_replication_slots cross join lateral unnest(pg_blocking_pids(active_pid)) as blocker
            left join pg_stat_activity on pid = nullif(blocker, 0) where slot_name = $1 limit 1";
        let words = sqlx::query_scalar(ask).bind(self.feed.as_str()).fetch_optional(self.pool).await;
        words.ok().flatten()
    }

    /// Stops the creation of the slot on the server. Otherwise the server notices the closed connection only after its wait, and
    /// leaves a slot that keeps the log for ever.
    async fn give_up(&self) {
        let end = "select pg_terminate_backend(active_pid) from pg_replication_slots join pg_stat_activity on pid = active_pid
            where slot_name = $1 and query like 'CREATE_REPLICATION_SLOT%'";
        let begun = Instant::now();
        loop {
            let ended = sqlx::query(end).bind(self.feed.as_str()).execute(self.pool).await.map(drop);
            let cleaned = LogicalSource::builder(self.url, self.feed).outbox(outbox()).clean_up().await;
            let error = match (ended, cleaned) {
                (Ok(()), Ok(())) => return,
                (Err(error), _) => error.to_string(),
                (_, Err(error)) => chain(&error),
            };
            if begun.elapsed() > GIVE_UP_TIMEOUT {
                tracing::error!(error, slot = %self.feed, "the slot that was begun could not be taken away: drop it");
                return;
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}
