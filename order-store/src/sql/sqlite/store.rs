//! Orders on SQLite.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Sqlite, SqliteConnection, SqlitePool};

use super::file::DatabaseFile;
use super::{migrate, statement};
use crate::error::StoreError;
use crate::schema::SCHEMA_VERSION;
use crate::sql::connection::sealed::Connection;
use crate::sql::deadline::Deadline;
use crate::sql::execution::{self, Store, not_newer};
use crate::sql::fault::{Fault, Stage, explain_unstarted};
use crate::sql::lease::Lease;
use crate::sql::requested_change::{Outcome, RequestedChange};

/// Orders in a SQLite file: the store for one machine, with no server at hand.
///
/// The file is in WAL mode, a change is on the disk before it is answered (`synchronous=FULL`), and several processes may
/// use it at once. Changes happen one at a time; reads don't wait for them. Cloned, it is the same store.
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
    /// Of a database in memory: a connection that keeps it while the writer's is closed and opened again.
    keeper: Option<SqlitePool>,
    /// Of a database in a file.
    file: Option<DatabaseFile>,
    patience: Duration,
}

const READERS: u32 = 4;
/// The longest that SQLite waits for another process that writes; after it the store tries again.
const BUSY_LIMIT: Duration = Duration::from_secs(1);
/// The number of requests that one transaction forgets.
const FORGET_BATCH: i64 = 10_000;
/// The attempts to open a file that another program is just making, and the pause between them.
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
        let options = SqliteConnectOptions::from_str(database_url).map_err(explain_unstarted)?;
        let chosen = database_url.contains("mode=");
        let options = options
            .create_if_missing(!chosen || database_url.contains("mode=rwc"))
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_LIMIT)
            .foreign_keys(true);
        let store = if database_url.contains(":memory:") || database_url.contains("mode=memory") {
            let keeper = single(options.clone(), None).await?;
            let only = single(options, None).await?;
            Self { writer: only.clone(), readers: only, keeper: Some(keeper), file: None, patience: PATIENCE }
        } else {
            let (writer, file) = sole_writer(options.clone().journal_mode(SqliteJournalMode::Wal)).await?;
            let readers = SqlitePoolOptions::new().max_connections(READERS).test_before_acquire(false);
            let readers = readers.connect_lazy_with(options.read_only(true));
            Self { writer, readers, keeper: None, file: Some(file), patience: PATIENCE }
        };
        let mut connection = store.writer.acquire().await.map_err(explain_unstarted)?;
        not_newer(connection.schema_version().await.map_err(explain_unstarted)?)?;
        drop(connection);
        Ok(store)
    }

    /// Sets the longest that one request may take, waits and retries included: 30 seconds by default. After it a change is
    /// [`StoreError::Unavailable`] (nothing was changed), or [`StoreError::Unknown`] if it was being committed.
    #[must_use]
    pub const fn patience(mut self, longest: Duration) -> Self {
        self.patience = longest;
        self
    }

    /// Makes the tables, or migrates them to this program's version.
    ///
    /// # Errors
    /// [`StoreError::SchemaVersion`] if a newer program migrated the file, [`StoreError::Setup`] if it can't be written.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.confirm()?;
        let mut connection = self.writer.acquire().await.map_err(explain_unstarted)?;
        if connection.schema_version().await.map_err(explain_unstarted)? != SCHEMA_VERSION {
            not_newer(migrate::migrate(&mut connection).await.map_err(explain_unstarted)?)?;
        }
        Ok(())
    }

    /// Forgets the requests that were accepted before this time, and returns their number: repeated, they are done again.
    /// Run it regularly, with a time after which no client repeats a request. It works in short transactions;
    /// interrupted, it has forgotten some.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Setup`].
    pub async fn forget_requests(&self, accepted_before: DateTime<Utc>) -> Result<u64, StoreError> {
        self.confirm()?;
        let before = accepted_before.to_rfc3339_opts(SecondsFormat::Millis, true);
        execution::forget(|| async {
            let forget = sqlx::query(statement::FORGET).bind(&before).bind(FORGET_BATCH);
            Ok(forget.execute(&self.writer).await?.rows_affected())
        })
        .await
    }

    /// Closes the file: waits until running requests have their answers. Later requests to this store or a clone of it are
    /// [`StoreError::Unavailable`]. If no other process has the file open, all of it is then in the one
    /// file, and those of the WAL beside it are gone: it may be copied or moved.
    ///
    /// A store that is only dropped loses nothing either, but may leave the WAL to the program that opens the file next. Cancelled,
    /// it keeps refusing requests, and each connection is closed when its answer has come.
    pub async fn close(&self) {
        // The last connection empties the WAL, which those that only read can't.
        self.readers.close().await;
        self.writer.close().await;
        if let Some(keeper) = &self.keeper {
            keeper.close().await;
        }
    }

    /// The writer, for statements of one's own and transactions for [`InTransaction`](crate::InTransaction): a pool of one
    /// connection. The store's changes wait while it is taken.
    #[must_use]
    pub const fn writer(&self) -> &SqlitePool {
        &self.writer
    }
}

impl SqliteOrderStore {
    fn confirm_log(&self) -> Result<(), StoreError> {
        self.file.as_ref().map_or(Ok(()), DatabaseFile::confirm_log)
    }
}

/// Opens the file for writing. Programs that open a new file at once all change its journal mode: one does, and the others
/// get an error, since SQLite's busy handler doesn't wait for that. So it tries again.
async fn sole_writer(options: SqliteConnectOptions) -> Result<(SqlitePool, DatabaseFile), StoreError> {
    let mut attempts = 1..=OPEN_ATTEMPTS;
    loop {
        let file = DatabaseFile::new(options.get_filename());
        attempts.next();
        match single(options.clone(), Some(file.clone())).await {
            Ok(writer) => {
                file.opened();
                return Ok((writer, file));
            }
            Err(StoreError::Unavailable { .. }) if !attempts.is_empty() => tokio::time::sleep(OPEN_PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

/// A pool of one connection that stays: a database in memory goes with its last connection.
///
/// A connection that still counts a transaction when it comes back is closed: SQLite rolls back by itself after some
/// errors, which sqlx does not notice, and no other transaction could begin.
async fn single(options: SqliteConnectOptions, file: Option<DatabaseFile>) -> Result<SqlitePool, StoreError> {
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(move |_, _| {
            if let Some(file) = &file {
                file.writer_opened();
            }
            Box::pin(async { Ok(()) })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                // A rollback may be on its way to the connection's thread.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        });
    pool.connect_with(options).await.map_err(explain_unstarted)
}

impl Store for SqliteOrderStore {
    type Database = Sqlite;

    async fn attempt(&self, requested: &RequestedChange, deadline: Deadline) -> Result<Outcome, (Fault, Stage)> {
        let mut stage = Stage::NotStarted;
        let mut lease = Lease::take(&self.writer, deadline).await.map_err(|fault| (fault, stage))?;
        let answer = match self.confirm_log() {
            Err(replaced) => Err(Fault::Final(replaced)),
            Ok(()) => match deadline.limit(attempt(&mut lease, requested, &mut stage)).await {
                Ok(answer) => answer,
                // The lease closes the connection, which rolls back.
                Err(timed_out) if stage == Stage::NotStarted => return Err((Fault::Final(timed_out.into()), stage)),
                Err(timed_out) => return Err((Fault::Final(StoreError::unknown(timed_out)), stage)),
            },
        };
        let answer = match (&answer, &self.file) {
            // What was committed to a file that is gone will be lost.
            (Ok(Outcome::Done(_)), Some(file)) => match file.confirm_log() {
                Ok(()) => {
                    file.writer_committed();
                    answer
                }
                Err(replaced) => Err(Fault::Final(StoreError::unknown(replaced))),
            },
            _ => answer,
        };
        lease.settle(&answer);
        answer.map_err(|fault| (fault, stage))
    }

    fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn confirm(&self) -> Result<(), StoreError> {
        self.file.as_ref().map_or(Ok(()), DatabaseFile::confirm)
    }
}

/// Tries the change in a transaction of its own, and notes the stage.
async fn attempt(
    connection: &mut SqliteConnection,
    requested: &RequestedChange,
    stage: &mut Stage,
) -> Result<Outcome, Fault> {
    // Immediate: a transaction that reads first and writes later may be refused with BUSY_SNAPSHOT.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    match transaction.attempt(requested, None).await {
        Ok(done @ Outcome::Done(_)) => {
            *stage = Stage::InFlight;
            transaction.commit().await?;
            Ok(done)
        }
        answer => {
            // Fails where SQLite has rolled back by itself; the pool then closes the connection.
            let _ = transaction.rollback().await;
            answer
        }
    }
}

crate::sql::order_store!(SqliteOrderStore);
