//! The store on PostgreSQL.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgPool, Postgres};

use super::{migrate, statement};
use crate::StoreError;
use crate::schema::SCHEMA_VERSION;
use crate::sql::ask::{Ask, Outcome};
use crate::sql::connection::sealed::Connection;
use crate::sql::fault::{At, Fault, Move};
use crate::sql::runner::Store;
use crate::sql::runner::known;

/// Orders on PostgreSQL 14 and above.
///
/// Each change is one statement and one round trip; one that another change of the same order overtook may take another.
/// Cloned, it is the same store.
///
/// ```no_run
/// use order_domain::{Currency, CustomerId, NewOrder};
/// use order_store::{OrderStore, PostgresOrderStore, Request};
///
/// # async fn example(customer: CustomerId) -> Result<(), order_store::StoreError> {
/// let store = PostgresOrderStore::connect("postgres://application@localhost/shop").await?;
/// store.migrate().await?;
/// let order = store.create(NewOrder::new(customer, Currency::EUR), Request::new()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PostgresOrderStore {
    pool: PgPool,
    patience: Duration,
}

/// Above it a connection is asked whether it is still there before it is used, which takes a round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
const ACQUIRE_LIMIT: Duration = Duration::from_secs(10);
/// How many requests one transaction forgets.
const FORGET_BATCH: i64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(30);

impl PostgresOrderStore {
    /// Connects, with a pool of [`PostgresOrderStore::pool_options`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Setup`], or [`StoreError::SchemaVersion`] if the database was migrated by
    /// a newer program.
    pub async fn connect(database_url: &str) -> Result<Self, StoreError> {
        let options: PgConnectOptions = database_url.parse().map_err(before_anything)?;
        // A pool would try until its time is up, and then tell that instead of the reason.
        let first = options.connect().await.map_err(before_anything)?;
        let pool = Self::pool_options().connect_lazy_with(options);
        first.close().await.map_err(before_anything)?;
        Self::from_pool(pool).await
    }

    /// Uses this pool, which others may use too.
    ///
    /// # Errors
    /// As [`PostgresOrderStore::connect`].
    pub async fn from_pool(pool: PgPool) -> Result<Self, StoreError> {
        let mut connection = pool.acquire().await.map_err(before_anything)?;
        let found = connection.schema_version().await.map_err(before_anything)?;
        drop(connection);
        known(found)?;
        Ok(Self { pool, patience: PATIENCE })
    }

    /// What [`PostgresOrderStore::connect`] makes its pool with: ten connections, and ten seconds to wait for one.
    ///
    /// sqlx's default asks a connection whether it is still there each time before it is used: one more round trip for
    /// each change. This one asks only those that have been idle for more than a second.
    #[must_use]
    pub fn pool_options() -> PgPoolOptions {
        PgPoolOptions::new().acquire_timeout(ACQUIRE_LIMIT).test_before_acquire(false).before_acquire(
            |connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            },
        )
    }

    /// The longest that the database may take for one answer, waiting for other changes included: 30 seconds unless said
    /// otherwise. After it a change is [`StoreError::Unknown`], since the database may still do it.
    #[must_use]
    pub const fn patience(mut self, longest: Duration) -> Self {
        self.patience = longest;
        self
    }

    /// Makes the tables, or takes them to this program's version; does nothing, and needs no rights, where they have it.
    /// Run as the role that is to own the tables.
    ///
    /// # Errors
    /// [`StoreError::SchemaVersion`] if a newer program migrated the database, [`StoreError::Setup`] if the role may not.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await.map_err(before_anything)?;
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
                .bind(accepted_before)
                .bind(FORGET_BATCH)
                .execute(&self.pool)
                .await
                .map_err(before_anything)?
                .rows_affected();
            if batch == 0 {
                return Ok(forgotten);
            }
            forgotten += batch;
        }
    }

    /// Closes the connections: waits until what is under way has its answer, and lets the server know. Whatever is asked
    /// from then on, of this store or a clone of it, is [`StoreError::Unavailable`]. A pool that was given to
    /// [`PostgresOrderStore::from_pool`] is closed for its other users too.
    ///
    /// A store that is only dropped leaves that to the server, which finds the connections gone. Cancelled, it goes on
    /// refusing, and each connection is closed when its answer has come.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The pool, for statements of one's own and transactions for [`InTransaction`](crate::InTransaction).
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }
}

impl Store for PostgresOrderStore {
    type Database = Postgres;

    async fn attempt(&self, ask: &Ask) -> Result<Outcome, (Fault, At)> {
        let mut connection = self.pool.acquire().await.map_err(|error| (error.into(), At::Safe))?;
        match tokio::time::timeout(self.patience, connection.attempt(ask)).await {
            Ok(answer) => answer.map_err(|fault| (fault, At::Underway)),
            Err(elapsed) => {
                // Its answer may still come: the connection is no good for another question.
                drop(connection.detach());
                Err((Fault::Told(StoreError::unknown(elapsed)), At::Underway))
            }
        }
    }

    fn readers(&self) -> &PgPool {
        &self.pool
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

fn before_anything(error: sqlx::Error) -> StoreError {
    Move::after(&error, At::Safe).told(error)
}

crate::sql::order_store!(PostgresOrderStore);
