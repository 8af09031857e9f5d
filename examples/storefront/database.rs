//! The database that the orders are in, and how their events are captured there.

use std::sync::Arc;

use change_feed::postgres::postgres_checkpoint;
use change_feed::{FeedName, LogicalSource, PostgresPollSource, Source, SourceError, SqliteOutboxSource, Wake};
use order_store::{OrderStore, PostgresOrderStore, SqliteOrderStore, StoreError, outbox};

use crate::database_url::DatabaseUrl;
use crate::options::SourceChoice;

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

    /// How this feed is captured: as it was told, or as it began. Asked before the first order is taken, so that the
    /// log is kept from there on.
    pub(crate) async fn choose(&self, feed: &FeedName, told: SourceChoice) -> Result<SourceChoice, DatabaseError> {
        let (Kind::Postgres(store), DatabaseUrl::Postgres { url, .. }) = (&self.kind, &self.url) else {
            return Ok(SourceChoice::Poll);
        };
        let chosen = match told {
            SourceChoice::Auto => match choose(store, url, feed).await {
                // The poller says so too, and meanwhile orders are taken.
                Err(SourceError::Fatal { .. }) => Ok(SourceChoice::Poll),
                answer => answer,
            },
            SourceChoice::Poll => Ok(SourceChoice::Poll),
            SourceChoice::Logical => {
                let made = LogicalSource::builder(url, feed).outbox(outbox()).create(true).connect().await;
                made.map(|_| SourceChoice::Logical)
            }
        };
        let unusable = |error: SourceError| DatabaseError {
            place: self.url.to_string(),
            remedy: "mend that, or poll the outbox with --source poll",
            source: error.into(),
        };
        chosen.map_err(unusable)
    }

    /// A source of this feed.
    pub(crate) async fn source(&self, feed: &FeedName, chosen: SourceChoice) -> Result<Box<dyn Source>, SourceError> {
        match (&self.url, chosen) {
            (DatabaseUrl::Sqlite { url, .. }, _) => {
                let builder = SqliteOutboxSource::builder(url, feed).outbox(outbox()).wake(self.wake.clone());
                Ok(Box::new(builder.connect().await?))
            }
            (DatabaseUrl::Postgres { url, .. }, SourceChoice::Logical) => {
                Ok(Box::new(LogicalSource::builder(url, feed).outbox(outbox()).connect().await?))
            }
            (DatabaseUrl::Postgres { url, .. }, SourceChoice::Poll | SourceChoice::Auto) => {
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

/// A replication slot, or polling: chosen at the feed's first start, since its position belongs to that one.
///
/// A slot gives what commits after it was made, so it is chosen while the outbox is empty; polling gives every event.
async fn choose(store: &PostgresOrderStore, url: &str, feed: &FeedName) -> Result<SourceChoice, SourceError> {
    if let Some(checkpoint) = postgres_checkpoint(url, feed).await? {
        let is_logical = checkpoint.identity.source.kind == LogicalSource::KIND;
        return Ok(if is_logical { SourceChoice::Logical } else { SourceChoice::Poll });
    }
    let ask = "select exists (select from pg_replication_slots where slot_name = $1 and database = current_database())
        or not exists (select from order_events)";
    let fits = sqlx::query_scalar(ask).bind(feed.as_str()).fetch_one(store.pool()).await;
    if !fits.map_err(SourceError::transient)? {
        return Ok(SourceChoice::Poll);
    }
    match LogicalSource::builder(url, feed).outbox(outbox()).create(true).connect().await {
        Ok(_) => Ok(SourceChoice::Logical),
        Err(SourceError::Closed(unfit)) => {
            tracing::info!(%unfit, "polling the outbox, since the log can't be decoded");
            Ok(SourceChoice::Poll)
        }
        Err(error) => Err(error),
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
