//! Orders on PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool, Postgres};

use super::turns::Turns;
use super::{migrate, statement};
use crate::error::StoreError;
use crate::schema::SCHEMA_VERSION;
use crate::sql::connection::sealed::Connection;
use crate::sql::deadline::Deadline;
use crate::sql::execution::{self, Store, not_newer};
use crate::sql::fault::{Fault, Stage, explain_unstarted};
use crate::sql::lease::Lease;
use crate::sql::requested_change::{Outcome, RequestedChange};

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
    turns: Arc<Turns>,
    patience: Duration,
}

/// A connection that was idle for longer is tested before it is used, which takes a round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
const ACQUIRE_LIMIT: Duration = Duration::from_secs(10);
/// The number of requests that one transaction forgets.
const FORGET_BATCH: i64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(30);
/// The server looks this often whether the client of a statement is still there.
const CLIENT_CHECK: &str = "set client_connection_check_interval = '200ms'";

impl PostgresOrderStore {
    /// Connects, with a pool of [`PostgresOrderStore::pool_options`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Setup`], or [`StoreError::SchemaVersion`] if the database was migrated by
    /// a newer program.
    pub async fn connect(database_url: &str) -> Result<Self, StoreError> {
        let options: PgConnectOptions = database_url.parse().map_err(explain_unstarted)?;
        // A pool would try until its time is up, and then report that instead of the reason.
        let first = Deadline::after(ACQUIRE_LIMIT).limit(options.connect()).await?.map_err(explain_unstarted)?;
        let pool = Self::pool_options().connect_lazy_with(options);
        first.close().await.map_err(explain_unstarted)?;
        Self::from_pool(pool).await
    }

    /// Uses this pool, which others may use too. Make it with [`PostgresOrderStore::pool_options`], or let its sessions set
    /// `client_connection_check_interval`, so that the server stops a statement whose caller left.
    ///
    /// # Errors
    /// As [`PostgresOrderStore::connect`].
    pub async fn from_pool(pool: PgPool) -> Result<Self, StoreError> {
        let mut connection = pool.acquire().await.map_err(explain_unstarted)?;
        let found = connection.schema_version().await.map_err(explain_unstarted)?;
        drop(connection);
        not_newer(found)?;
        let turns = Arc::new(Turns::of_pool(pool.options().get_max_connections()));
        Ok(Self { pool, turns, patience: PATIENCE })
    }

    /// The options of the pool that [`PostgresOrderStore::connect`] makes: ten connections, and ten seconds to wait for
    /// one.
    ///
    /// sqlx's default tests each connection before it is used: one more round trip for each change. These options test
    /// only connections that were idle for more than a second. They also let the server notice that the client of a
    /// statement is gone (`client_connection_check_interval`), so that a change whose caller gave up is not made later.
    #[must_use]
    pub fn pool_options() -> PgPoolOptions {
        PgPoolOptions::new()
            .acquire_timeout(ACQUIRE_LIMIT)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| Box::pin(watch_client(connection)))
    }

    /// Sets the longest that one request may take, waits and retries included: 30 seconds by default. A change that
    /// waits for a lock ends shortly before, as [`StoreError::Unavailable`]: the server gave up, and nothing was changed.
    /// Without the server's answer in time it is [`StoreError::Unknown`].
    #[must_use]
    pub const fn patience(mut self, longest: Duration) -> Self {
        self.patience = longest;
        self
    }

    /// Makes the tables, or migrates them to this program's version; does nothing, and needs no rights, if they have it.
    /// Run as the role that is to own the tables.
    ///
    /// # Errors
    /// [`StoreError::SchemaVersion`] if a newer program migrated the database, [`StoreError::Setup`] if the role may not.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await.map_err(explain_unstarted)?;
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
        execution::forget(|| async {
            let forget = sqlx::query(statement::FORGET).bind(accepted_before).bind(FORGET_BATCH);
            Ok(forget.execute(&self.pool).await?.rows_affected())
        })
        .await
    }

    /// Closes the connections: waits until running requests have their answers, and ends the sessions. Later requests to
    /// this store or a clone of it are [`StoreError::Unavailable`]. A pool that was given to
    /// [`PostgresOrderStore::from_pool`] is closed for its other users too.
    ///
    /// A store that is only dropped leaves it to the server to notice that the connections are gone. Cancelled, it keeps
    /// refusing requests, and each connection is closed when its answer has come.
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

    async fn attempt(&self, requested: &RequestedChange, deadline: Deadline) -> Result<Outcome, (Fault, Stage)> {
        let not_started = |fault| (fault, Stage::NotStarted);
        let turn = deadline.limit(self.turns.enter(requested.order_id())).await;
        let _turn = turn.map_err(|timed_out| not_started(Fault::Final(timed_out.into())))?;
        let mut lease = Lease::take(&self.pool, deadline).await.map_err(not_started)?;
        let lock_timeout_ms = Some(deadline.lock_timeout_ms());
        match deadline.limit(lease.attempt(requested, lock_timeout_ms)).await {
            Ok(answer) => {
                lease.settle(&answer);
                answer.map_err(|fault| (fault, Stage::InFlight))
            }
            // The lease closes the connection, and the server stops once it notices that.
            Err(timed_out) => Err((Fault::Final(StoreError::unknown(timed_out)), Stage::InFlight)),
        }
    }

    fn readers(&self) -> &PgPool {
        &self.pool
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

/// Servers that speak PostgreSQL's protocol may not have the setting, and work without it.
async fn watch_client(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    match connection.execute(CLIENT_CHECK).await {
        Err(sqlx::Error::Database(error)) => {
            tracing::debug!(target: "order_store", %error, "the server does not check its clients");
            Ok(())
        }
        answer => answer.map(drop),
    }
}

crate::sql::order_store!(PostgresOrderStore);
