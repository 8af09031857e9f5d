//! A database with a backlog: rows that have committed and that no slot has given away yet.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::outcome::Outcome;
use crate::postgres::Postgres;

/// The schema and the name of the table.
pub(crate) const TABLE: &str = "public.events";

/// An outbox as `change_feed::outbox` describes it, without the guard: it is the feed that is measured. A row is about 420 bytes of text.
const CREATE: &str = "create table events (
    sequence bigint generated always as identity primary key,
    event_id uuid not null,
    order_id uuid not null,
    version bigint not null,
    event_type text not null,
    payload json not null,
    occurred_at timestamptz not null default now(),
    traceparent text,
    unique (order_id, version)
) with (autovacuum_enabled = false)";

/// Rows $1..$2 as this `select` counts them, in `n`.
const ROWS: &str = "insert into events (event_id, order_id, version, event_type, payload)
    select ('01930000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, md5((n / 5)::text)::uuid, n % 5 + 1, 'item_added',
        format('{\"item_id\":\"%s\",\"sku\":\"sku-%s\",\"quantity\":%s,\"unit_price_minor\":%s,\"currency\":\"EUR\",\"note\":\"%s\"}',
            md5(n::text)::uuid, n % 1000, n % 9 + 1, 149 + n % 100, repeat(md5((n + 1)::text), 5))::json";

/// Publications exist before the backlog: decoding looks at the catalogue as it was when a row was written.
const FEEDS_MAX: u32 = 96;

/// A database with a table of events, and a slot whose position is before them.
#[derive(Debug)]
pub(crate) struct Dataset {
    postgres: Postgres,
    pub(crate) database: String,
    pub(crate) rows: u64,
    pub(crate) rows_per_transaction: u64,
    /// A place in the log between the last row and what follows it.
    pub(crate) end: String,
    feeds: AtomicU32,
}

impl Dataset {
    /// A database with an empty table.
    pub(crate) async fn empty(postgres: &Postgres, name: &str) -> Outcome<Self> {
        let database = postgres.create_database(name).await?;
        let mut connection = postgres.connect(&database).await?;
        connection.execute(CREATE).await?;
        for feed in 0..FEEDS_MAX {
            let create = format!("create publication {} for table {TABLE}", feed_name(&database, feed));
            connection.execute(AssertSqlSafe(create)).await?;
        }
        sqlx::query("select pg_create_logical_replication_slot($1, 'pgoutput')")
            .bind(base_slot(&database))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        let (postgres, end) = (postgres.clone(), String::new());
        Ok(Self { postgres, database, rows: 0, rows_per_transaction: 0, end, feeds: AtomicU32::new(0) })
    }

    /// A database with a backlog: whole transactions of `rows_per_transaction` rows.
    pub(crate) async fn with_backlog(
        postgres: &Postgres,
        name: &str,
        rows: u64,
        rows_per_transaction: u64,
    ) -> Outcome<Self> {
        let empty = Self::empty(postgres, name).await?;
        let mut connection = empty.connect().await?;
        let transactions = rows.div_ceil(rows_per_transaction);
        // The disk's latency is not what is measured: the log is on the disk before the first contender starts.
        connection.execute("set synchronous_commit = off").await?;
        let generate = format!(
            "do $$ begin
                for t in 0..{transactions} - 1 loop
                    {ROWS} from generate_series(t::bigint * {rows_per_transaction} + 1, (t::bigint + 1) * {rows_per_transaction}) n;
                    commit;
                end loop;
            end $$"
        );
        connection.execute(AssertSqlSafe(generate)).await?;
        connection.execute("vacuum (analyze) events").await?;
        let end: String =
            sqlx::query_scalar("select pg_current_wal_insert_lsn()::text").fetch_one(&mut connection).await?;
        // A message after the end, so that a reader of all before it notices the end at once.
        connection.execute("set synchronous_commit = on").await?;
        connection.execute("select pg_logical_emit_message(true, 'rig', 'the end of the backlog')").await?;
        connection.close().await?;
        Ok(Self { rows: transactions * rows_per_transaction, rows_per_transaction, end, ..empty })
    }

    pub(crate) async fn connect(&self) -> Outcome<PgConnection> {
        self.postgres.connect(&self.database).await
    }

    /// Prepares a feed that has not run yet and gives its name. Its publication exists, and its slot's position is before the
    /// backlog: all contenders read slots of the same age.
    pub(crate) async fn new_feed(&self) -> Outcome<String> {
        let feed = self.feeds.fetch_add(1, Ordering::Relaxed);
        if feed >= FEEDS_MAX {
            return Err(format!("one backlog is read at most {FEEDS_MAX} times").into());
        }
        let feed = feed_name(&self.database, feed);
        let mut connection = self.connect().await?;
        sqlx::query("select pg_copy_logical_replication_slot($1, $2)")
            .bind(base_slot(&self.database))
            .bind(&feed)
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        self.postgres.checkpoint().await?;
        Ok(feed)
    }

    /// Removes the slot of a feed that has run.
    pub(crate) async fn end_feed(&self, feed: &str) -> Outcome<()> {
        self.postgres.drop_slot(feed).await
    }

    /// Removes the database: the server need not keep its log any more.
    pub(crate) async fn drop(self) -> Outcome<()> {
        self.postgres.drop_database(&self.database).await
    }
}

fn base_slot(database: &str) -> String {
    format!("{database}_base")
}

fn feed_name(database: &str, feed: u32) -> String {
    format!("{database}_{feed}")
}
