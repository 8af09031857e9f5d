//! The server session that holds the election, and what it reads.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgConnection, Postgres};
use sqlx::query::{Query, QueryScalar};
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::limits::PollLimits;
use super::poll_progress::Anchor;
use super::row::{OutboxRow, signed, transaction_id, unsigned};
use super::snapshot::{InvalidSnapshot, Snapshot};
use super::statements::{FLUSH, FLUSHED, SNAPSHOT, Statements};
use crate::feed::checkpoint::Checkpoint;
use crate::feed::event::EventId;
use crate::feed::identity::FeedName;
use crate::outbox::event_types::EventTypes;
use crate::postgres::server::Server;
use crate::postgres::{election, state};
use crate::source::SourceError;

/// Rows or sequence numbers that one statement passes over at most, so that each ends in time however thinly the
/// rows of a window lie among those of others.
pub(super) const SCAN_MAX: u64 = 200_000;
/// Time for the writers' own commit to reach the disk, before the feed flushes the log itself.
const FLUSH_GRACE_MS: u64 = 2;

/// The server session that holds the election.
pub(super) struct PollSession {
    connection: PgConnection,
    server: Server,
    statements: Arc<Statements>,
    limits: PollLimits,
    outbox: Arc<str>,
    /// The server's process that holds the election's lock.
    holder: i32,
    event_types: EventTypes,
}

/// The present of the server.
pub(super) struct Present {
    pub(super) snapshot: Snapshot,
    /// Every commit that the snapshot sees is before this place in the log.
    log_end: i64,
}

/// What a statement gave.
pub(super) struct Rows {
    /// The number of rows that the window has, as far as the statement counted.
    pub(super) total: i64,
    pub(super) rows: Vec<OutboxRow>,
    /// Whether the server sent fewer, since the bytes were enough.
    pub(super) cut: bool,
}

/// A stretch of the sequence, and how many rows of it are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) after: u64,
    pub(super) through: u64,
    pub(super) rows: u32,
}

impl PollSession {
    pub(super) fn new(
        connection: PgConnection,
        server: Server,
        statements: Arc<Statements>,
        limits: PollLimits,
        outbox: Arc<str>,
        event_types: EventTypes,
        holder: i32,
    ) -> Self {
        Self { connection, server, statements, limits, outbox, holder, event_types }
    }

    /// The outbox that is read, for messages.
    pub(super) fn outbox(&self) -> &str {
        &self.outbox
    }

    /// The server's present, from the session that holds the election.
    pub(super) async fn present(&mut self) -> Result<Present, SourceError> {
        let answer = async {
            let row = sqlx::query(SNAPSHOT).fetch_one(&mut self.connection).await?;
            let text: &str = row.try_get(0)?;
            let snapshot = text.parse().map_err(|error: InvalidSnapshot| sqlx::Error::Decode(error.into()))?;
            Ok((Present { snapshot, log_end: row.try_get(2)? }, row.try_get(1)?))
        };
        let (present, process): (Present, i32) = self.server.answer(answer).await?;
        if process == self.holder {
            return Ok(present);
        }
        Err(SourceError::fatal(
            "a connection pooler changes the server session under the feed, so the election means nothing",
            "give the feed the server's own address, or a pooler in session mode",
        ))
    }

    /// What is stored of the feed.
    pub(super) async fn checkpoint(&mut self, feed: &FeedName) -> Result<Option<Checkpoint>, SourceError> {
        state::checkpoint(&self.server, &mut self.connection, feed).await
    }

    /// Gives the election up.
    pub(super) async fn release(&mut self, feed: &FeedName) -> Result<(), SourceError> {
        election::release(&self.server, &mut self.connection, feed).await
    }

    /// Waits until what `present` sees is on the disk: writers with `synchronous_commit = off` show their
    /// commits before, and a crash takes those back.
    pub(super) async fn flush(&mut self, present: &Present) -> Result<(), SourceError> {
        if self.scalar::<i64>(sqlx::query_scalar(FLUSHED)).await? >= present.log_end {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(FLUSH_GRACE_MS)).await;
        if self.scalar::<i64>(sqlx::query_scalar(FLUSHED)).await? >= present.log_end {
            return Ok(());
        }
        self.scalar::<i64>(sqlx::query_scalar(FLUSH)).await.map(drop)
    }

    /// The rows of the transactions in `ranges`, or only the number of them if there are too many.
    pub(super) async fn window(&mut self, ranges: &[RangeInclusive<u64>]) -> Result<Rows, SourceError> {
        let low: Vec<String> = ranges.iter().map(|range| range.start().to_string()).collect();
        let high: Vec<String> = ranges.iter().map(|range| range.end().to_string()).collect();
        let statements = Arc::clone(&self.statements);
        let query = sqlx::query(AssertSqlSafe(statements.window.as_str())).bind(low).bind(high);
        self.read(query.bind(i64::from(self.limits.window_rows)).bind(self.page_bytes())).await
    }

    /// The first rows in a stretch that `target` sees and `old` doesn't.
    pub(super) async fn page(
        &mut self,
        stretch: Stretch,
        old: &Snapshot,
        target: &Snapshot,
    ) -> Result<Rows, SourceError> {
        let statements = Arc::clone(&self.statements);
        let query = sqlx::query(AssertSqlSafe(statements.page.as_str()))
            .bind(signed(stretch.after))
            .bind(signed(stretch.through))
            .bind(target.to_string())
            .bind(old.to_string())
            .bind(i64::from(stretch.rows))
            .bind(self.page_bytes());
        self.read(query).await
    }

    fn page_bytes(&self) -> i64 {
        i64::try_from(self.limits.page_bytes).unwrap_or(i64::MAX)
    }

    async fn read(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Rows, SourceError> {
        let Self { connection, server, event_types, outbox, .. } = self;
        let answer = async {
            let mut read = Rows { total: 0, rows: Vec::new(), cut: false };
            let mut stream = query.fetch(connection);
            while let Some(row) = stream.try_next().await? {
                read.total = row.try_get(0)?;
                read.rows.extend(OutboxRow::read(&row, outbox, event_types)?);
            }
            let sent = i64::try_from(read.rows.len()).unwrap_or(i64::MAX);
            read.cut = sent > 0 && sent < read.total;
            Ok(read)
        };
        server.answer(answer).await
    }

    /// The lowest sequence of the transactions in `ranges`. It passes over all of their rows, in the index.
    pub(super) async fn lowest_sequence(&mut self, ranges: &[RangeInclusive<u64>]) -> Result<u64, SourceError> {
        let statements = Arc::clone(&self.statements);
        let mut lowest = u64::MAX;
        for range in ranges {
            let mut from = *range.start();
            loop {
                let query = sqlx::query(AssertSqlSafe(statements.lowest.as_str()))
                    .bind(from.to_string())
                    .bind(range.end().to_string())
                    .bind(signed(SCAN_MAX));
                let answer = async {
                    let row = query.fetch_one(&mut self.connection).await?;
                    Ok((row.try_get(0)?, transaction_id(&row, 1)?, row.try_get(2)?))
                };
                let (first, last, rows): (Option<i64>, Option<u64>, i64) = self.server.answer(answer).await?;
                let (Some(first), Some(last)) = (first, last) else {
                    break;
                };
                lowest = lowest.min(unsigned(first));
                if rows < signed(SCAN_MAX) || last >= *range.end() {
                    break;
                }
                // A transaction's rows came in the order of their sequence: its lowest was among them.
                from = last + 1;
            }
        }
        Ok(lowest)
    }

    /// The highest transaction that the snapshot sees and that has a row.
    pub(super) async fn highest_transaction(&mut self, snapshot: &Snapshot) -> Result<u64, SourceError> {
        let statements = Arc::clone(&self.statements);
        let query = sqlx::query(AssertSqlSafe(statements.highest_transaction.as_str()))
            .bind((snapshot.highest() + 1).to_string())
            .bind(snapshot.to_string());
        let answer = async {
            let row = query.fetch_optional(&mut self.connection).await?;
            row.map_or(Ok(None), |row| transaction_id(&row, 0))
        };
        Ok(self.server.answer(answer).await?.unwrap_or_default())
    }

    /// The highest sequence of any row that is visible; 0 if there is none.
    pub(super) async fn highest_sequence(&mut self) -> Result<u64, SourceError> {
        let statements = Arc::clone(&self.statements);
        let query = sqlx::query_scalar(AssertSqlSafe(statements.highest_sequence.as_str()));
        Ok(self.scalar::<Option<i64>>(query).await?.map_or(0, unsigned))
    }

    /// The lowest sequence above `after` of any row that is visible.
    pub(super) async fn following_sequence(&mut self, after: u64) -> Result<Option<u64>, SourceError> {
        let statements = Arc::clone(&self.statements);
        let query = sqlx::query_scalar(AssertSqlSafe(statements.following.as_str())).bind(signed(after));
        Ok(self.scalar::<Option<i64>>(query).await?.map(unsigned))
    }

    /// The event at a sequence.
    pub(super) async fn anchor_at(&mut self, sequence: u64) -> Result<Option<Anchor>, SourceError> {
        let statements = Arc::clone(&self.statements);
        let query = sqlx::query_scalar(AssertSqlSafe(statements.event_at.as_str())).bind(signed(sequence));
        let event: Option<Uuid> = self.server.answer(query.fetch_optional(&mut self.connection)).await?;
        Ok(event.map(|id| Anchor::new(sequence, EventId::new(id))))
    }

    /// Whether a row names a transaction that this server has not begun.
    pub(super) async fn has_foreign_rows(&mut self) -> Result<bool, SourceError> {
        let statements = Arc::clone(&self.statements);
        self.scalar(sqlx::query_scalar(AssertSqlSafe(statements.foreign.as_str()))).await
    }

    /// For each transaction: its id, the number of its rows, and how many of them have a sequence of at most `through`.
    pub(super) async fn tallies(
        &mut self,
        transactions: &[u64],
        through: u64,
    ) -> Result<Vec<(u64, u32, u32)>, SourceError> {
        let ids: Vec<String> = transactions.iter().map(u64::to_string).collect();
        let statements = Arc::clone(&self.statements);
        let query = sqlx::query(AssertSqlSafe(statements.tallies.as_str())).bind(ids).bind(signed(through));
        let narrow = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
        let answer = async {
            let rows = query.fetch_all(&mut self.connection).await?;
            let tallies = rows.iter().map(|row| {
                let id = transaction_id(row, 0)?.unwrap_or_default();
                Ok((id, narrow(row.try_get(1)?), narrow(row.try_get(2)?)))
            });
            tallies.collect()
        };
        self.server.answer(answer).await
    }

    async fn scalar<T>(&mut self, query: QueryScalar<'_, Postgres, T, PgArguments>) -> Result<T, SourceError>
    where
        T: Send + Unpin + for<'row> sqlx::Decode<'row, Postgres> + sqlx::Type<Postgres>,
    {
        self.server.answer(query.fetch_one(&mut self.connection)).await
    }
}
