//! The store on SQLite.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool};

use super::{migrate, statement};
use crate::StoreError;
use crate::schema::SCHEMA_VERSION;
use crate::sql::ask::{Ask, Outcome};
use crate::sql::connection::sealed::Connection;
use crate::sql::fault::{At, Fault, Move};
use crate::sql::runner::Store;
use crate::sql::runner::known;

/// Orders in a SQLite file: the store for one machine, with no server at hand.
///
/// The file is in WAL mode, a change is on the disk before it is answered (`synchronous=FULL`), and several processes may
/// use it at once. Changes happen one at a time; questions don't wait for them. Cloned, it is the same store.
///
/// ```
/// use order_domain::{Currency, CustomerId, NewOrder};
/// use order_store::{OrderStore, Request, SqliteOrderStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqliteOrderStore::connect("sqlite::memory:").await?;
/// store.migrate().await?;
/// let customer: CustomerId = "01998f3e-7c00-7000-8000-0000000000c1".parse()?;
/// let order = store.create(NewOrder::new(customer, Currency::EUR), Request::new()).await?;
/// assert_eq!(store.get(order.id()).await?, order);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SqliteOrderStore {
    /// Of one connection: SQLite has one writer at a time, and a queue here is fairer than its busy handler.
    writer: SqlitePool,
    readers: SqlitePool,
    patience: Duration,
}

const READERS: u32 = 4;
/// How long to wait for another process that writes, before the attempt counts as refused.
const BUSY_LIMIT: Duration = Duration::from_secs(1);
/// How many requests one transaction forgets.
const FORGET_BATCH: i64 = 10_000;
/// How often a file is opened that another program is just making, and the pause between.
const OPEN_ATTEMPTS: u32 = 20;
const OPEN_PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(30);

impl SqliteOrderStore {
    /// Opens the file of a URL like `sqlite:storefront.db`, and makes it if it isn't there (unless the URL has a `mode`).
    /// `sqlite::memory:` is a database of this store's own, for tests.
    ///
    /// # Errors
    /// [`StoreError::Setup`] if the file can't be opened, [`StoreError::Unavailable`], or [`StoreError::SchemaVersion`] if
    /// a newer program migrated it.
    pub async fn connect(database_url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(database_url).map_err(before_anything)?;
        let chosen = database_url.contains("mode=");
        let options = options
            .create_if_missing(!chosen || database_url.contains("mode=rwc"))
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_LIMIT)
            .foreign_keys(true);
        let store = if database_url.contains(":memory:") || database_url.contains("mode=memory") {
            let only = single(options).await?;
            Self { writer: only.clone(), readers: only, patience: PATIENCE }
        } else {
            let writer = sole_writer(options.clone().journal_mode(SqliteJournalMode::Wal)).await?;
            let readers = SqlitePoolOptions::new().max_connections(READERS).test_before_acquire(false);
            Self { writer, readers: readers.connect_lazy_with(options.read_only(true)), patience: PATIENCE }
        };
        let mut connection = store.writer.acquire().await.map_err(before_anything)?;
        known(connection.schema_version().await.map_err(before_anything)?)?;
        drop(connection);
        Ok(store)
    }

    /// The longest that one answer may take, waiting for other changes included: 30 seconds unless said otherwise. After it
    /// a change is [`StoreError::Unknown`].
    #[must_use]
    pub const fn patience(mut self, longest: Duration) -> Self {
        self.patience = longest;
        self
    }

    /// Makes the tables, or takes them to this program's version.
    ///
    /// # Errors
    /// [`StoreError::SchemaVersion`] if a newer program migrated the file, [`StoreError::Setup`] if it can't be written.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await.map_err(before_anything)?;
        if connection.schema_version().await.map_err(before_anything)? != SCHEMA_VERSION {
            known(migrate::migrate(&mut connection).await.map_err(before_anything)?)?;
        }
        Ok(())
    }

    /// Forgets the requests that were accepted before this time, and answers how many: made again, they are done again.
    /// Run it now and then, with a time by which nobody asks again. In short transactions; interrupted, it has forgotten
    /// some.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Setup`].
    pub async fn forget_requests(&self, accepted_before: DateTime<Utc>) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        loop {
            let batch = sqlx::query(statement::FORGET)
                .bind(accepted_before.to_rfc3339_opts(SecondsFormat::Millis, true))
                .bind(FORGET_BATCH)
                .execute(&self.writer)
                .await
                .map_err(before_anything)?
                .rows_affected();
            if batch == 0 {
                return Ok(forgotten);
            }
            forgotten += batch;
        }
    }

    /// Closes the file: waits until what is under way has its answer. Whatever is asked from then on, of this store or a
    /// clone of it, is [`StoreError::Unavailable`]. If no other process has the file open, all of it is then in the one
    /// file, and those of the WAL beside it are gone: it may be copied or moved.
    ///
    /// A store that is only dropped loses nothing either, but may leave the WAL to whoever opens the file next. Cancelled,
    /// it goes on refusing, and each connection is closed when its answer has come.
    pub async fn close(&self) {
        // The last connection empties the WAL, which those that only read can't.
        self.readers.close().await;
        self.writer.close().await;
    }

    /// The writer, for statements of one's own and transactions for [`InTransaction`](crate::InTransaction): a pool of one
    /// connection. The store's changes wait while it is taken.
    #[must_use]
    pub const fn writer(&self) -> &SqlitePool {
        &self.writer
    }
}

/// Programs that open a new file at once all change its journal mode: one does, and the others are told that the file is
/// locked, since SQLite's busy handler doesn't wait for that.
async fn sole_writer(options: SqliteConnectOptions) -> Result<SqlitePool, StoreError> {
    for _ in 1..OPEN_ATTEMPTS {
        match single(options.clone()).await {
            Err(StoreError::Unavailable { .. }) => tokio::time::sleep(OPEN_PAUSE).await,
            answer => return answer,
        }
    }
    single(options).await
}

/// A pool of one connection that stays: a database in memory goes with its last connection.
async fn single(options: SqliteConnectOptions) -> Result<SqlitePool, StoreError> {
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false);
    pool.connect_with(options).await.map_err(before_anything)
}

impl Store for SqliteOrderStore {
    type Database = Sqlite;

    async fn attempt(&self, ask: &Ask) -> Result<Outcome, (Fault, At)> {
        match tokio::time::timeout(self.patience, attempt(&self.writer, ask)).await {
            Ok(answer) => answer,
            Err(elapsed) => Err((Fault::Told(StoreError::unknown(elapsed)), At::Underway)),
        }
    }

    fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

async fn attempt(writer: &SqlitePool, ask: &Ask) -> Result<Outcome, (Fault, At)> {
    let safe = |error: sqlx::Error| (Fault::from(error), At::Safe);
    // Immediate: a transaction that reads first and writes later may be refused with BUSY_SNAPSHOT.
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(safe)?;
    let outcome = transaction.attempt(ask).await.map_err(|fault| (fault, At::Safe))?;
    if matches!(outcome, Outcome::Done(_)) {
        transaction.commit().await.map_err(|error| (error.into(), At::Underway))?;
    }
    Ok(outcome)
}

fn before_anything(error: sqlx::Error) -> StoreError {
    Move::after(&error, At::Safe).told(error)
}

crate::sql::order_store!(SqliteOrderStore);
