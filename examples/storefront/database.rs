//! The database that the orders are in, and how their events are captured there.

use std::sync::Arc;

use change_feed::{FeedName, PostgresPollSource, Source, SourceError, SqliteOutboxSource, Wake};
use order_store::{OrderStore, PostgresOrderStore, SqliteOrderStore, StoreError, outbox};

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

    /// A source of this feed.
    pub(crate) async fn source(&self, feed: &FeedName) -> Result<Box<dyn Source>, SourceError> {
        match &self.url {
            DatabaseUrl::Sqlite { url, .. } => {
                let builder = SqliteOutboxSource::builder(url, feed).outbox(outbox()).wake(self.wake.clone());
                Ok(Box::new(builder.connect().await?))
            }
            DatabaseUrl::Postgres { url, .. } => {
                let builder = PostgresPollSource::builder(url, feed).outbox(outbox()).wake(self.wake.clone());
                Ok(Box::new(builder.connect().await?))
            }
        }
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

/// SQLite opens a file that it may not write without a word, and refuses the first order.
async fn takes_writes(store: &SqliteOrderStore) -> Result<(), sqlx::Error> {
    /// <https://sqlite.org/rescode.html#readonly>; the lowest byte is the kind.
    const READ_ONLY: u32 = 8;
    let is_read_only = |error: &sqlx::Error| {
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
        code.is_some_and(|code| code & 0xff == READ_ONLY)
    };
    // Asks for the right to write, and writes nothing. (BEGIN IMMEDIATE is content with reading.)
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
