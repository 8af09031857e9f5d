//! The database that the orders are in.

use std::sync::Arc;

use change_feed::Wake;
use chrono::Utc;
use order_domain::{Currency, CustomerId, NewOrder};
use order_store::{InTransaction, OrderStore, PostgresOrderStore, Request, SqliteOrderStore, StoreError};

use crate::database_url::DatabaseUrl;

/// The database that the orders are in.
#[derive(Clone)]
pub(crate) struct Database {
    url: DatabaseUrl,
    kind: Kind,
    /// Wakes the source after a commit of this process.
    wake: Wake,
}

#[derive(Clone)]
enum Kind {
    Sqlite(SqliteOrderStore),
    Postgres(PostgresOrderStore),
}

/// Why the database can't be used, and what to do. No password is shown.
#[derive(Debug, thiserror::Error)]
#[error("can't use the database ({place}); nothing was changed; {remedy}")]
pub(crate) struct DatabaseError {
    place: String,
    remedy: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

const WRITABLE_FILE: &str =
    "choose a database file that this program can write, in a folder that is there, with DATABASE_URL";

impl Database {
    /// Opens the database, and brings its tables to the version of this program.
    pub(crate) async fn open(url: &DatabaseUrl, wake: Wake) -> Result<Self, DatabaseError> {
        let unusable = |remedy, source| DatabaseError { place: url.to_string(), remedy, source };
        let kind = open(url).await.map_err(|error| unusable(remedy(url, &error), error.into()))?;
        if let Kind::Sqlite(store) = &kind {
            takes_writes(store).await.map_err(|error| unusable(WRITABLE_FILE, error.into()))?;
        }
        Ok(Self { url: url.clone(), kind, wake })
    }

    /// The store.
    pub(crate) fn store(&self) -> Arc<dyn OrderStore> {
        match &self.kind {
            Kind::Sqlite(store) => Arc::new(store.clone()),
            Kind::Postgres(store) => Arc::new(store.clone()),
        }
    }

    /// The PostgreSQL store and its URL, if that is what it is.
    pub(crate) fn postgres(&self) -> Option<(&PostgresOrderStore, &str)> {
        match (&self.kind, &self.url) {
            (Kind::Postgres(store), DatabaseUrl::Postgres { url, .. }) => Some((store, url)),
            _ => None,
        }
    }

    /// The URL of the SQLite file, if that is what it is.
    pub(crate) fn sqlite_url(&self) -> Option<&str> {
        match &self.url {
            DatabaseUrl::Sqlite { url, .. } => Some(url),
            DatabaseUrl::Postgres { .. } => None,
        }
    }

    /// Wakes the source after a commit of this process.
    pub(crate) fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Writes something that changes no order, and so shows whether there is room for an order.
    pub(crate) async fn write_something(&self) -> Result<(), StoreError> {
        match &self.kind {
            // Room is needed when a page is written, so this one commits.
            Kind::Sqlite(store) => {
                let same = sqlx::query("update order_store_migrations set version = version");
                same.execute(store.writer()).await.map(drop).map_err(StoreError::unavailable)
            }
            // Room is needed for the new row already, so this one is rolled back.
            Kind::Postgres(store) => {
                let mut transaction = store.pool().begin().await.map_err(StoreError::unavailable)?;
                let order = NewOrder::new(CustomerId::generate(Utc::now()), Currency::EUR);
                InTransaction::new(&mut *transaction).create(order, Request::new()).await?;
                transaction.rollback().await.map_err(StoreError::unavailable)
            }
        }
    }

    /// Why it can't be used, with what to do.
    pub(crate) fn unusable(
        &self,
        remedy: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> DatabaseError {
        DatabaseError { place: self.url.to_string(), remedy, source: source.into() }
    }

    /// What it is, in words, without a password.
    pub(crate) fn words(&self) -> String {
        self.url.to_string()
    }

    /// Closes its connections.
    pub(crate) async fn close(&self) {
        match &self.kind {
            Kind::Sqlite(store) => store.close().await,
            Kind::Postgres(store) => store.close().await,
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("url", &self.url).finish_non_exhaustive()
    }
}

async fn open(url: &DatabaseUrl) -> Result<Kind, StoreError> {
    match url {
        DatabaseUrl::Sqlite { url, .. } => {
            let store = SqliteOrderStore::connect(url).await?;
            store.migrate().await?;
            Ok(Kind::Sqlite(store))
        }
        DatabaseUrl::Postgres { url, .. } => {
            let store = PostgresOrderStore::connect(url).await?;
            store.migrate().await?;
            Ok(Kind::Postgres(store))
        }
    }
}

/// Checks whether SQLite may write the file. It opens a read-only file without an error, and then refuses the first
/// order.
async fn takes_writes(store: &SqliteOrderStore) -> Result<(), sqlx::Error> {
    /// <https://sqlite.org/rescode.html#readonly>; the lowest byte is the kind.
    const READ_ONLY: u32 = 8;
    let is_read_only = |error: &sqlx::Error| {
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
        code.is_some_and(|code| code & 0xff == READ_ONLY)
    };
    // Needs the right to write, and writes nothing. (BEGIN IMMEDIATE succeeds on a read-only file.)
    let nothing = sqlx::query("update order_store_migrations set version = version where false");
    match nothing.execute(store.writer()).await {
        Ok(_) => Ok(()),
        Err(error) if is_read_only(&error) => Err(error),
        // Another program writes at this moment: so the file can be written.
        Err(_) => Ok(()),
    }
}

fn remedy(url: &DatabaseUrl, error: &StoreError) -> &'static str {
    match (error, url) {
        // Its message says what to do.
        (StoreError::SchemaVersion { .. }, _) => "see below",
        (_, DatabaseUrl::Sqlite { .. }) => WRITABLE_FILE,
        (_, DatabaseUrl::Postgres { .. }) => "start the server, or correct DATABASE_URL",
    }
}
