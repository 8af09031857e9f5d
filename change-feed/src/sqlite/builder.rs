//! The set-up of a SQLite source.

use std::fmt;
use std::str::FromStr as _;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::database::{Database, classify};
use super::reader::Limits;
use super::source::SqliteOutboxSource;
use crate::feed::identity::FeedName;
use crate::outbox::pace::Wake;
use crate::outbox::table::Outbox;
use crate::source::SourceError;

const PAGE_ROWS_MAX: u32 = 10_000;
const PAGE_BYTES_MAX: usize = 8 << 20;

/// Sets up a [`SqliteOutboxSource`].
#[derive(Debug, Clone)]
#[must_use]
pub struct SqliteOutboxSourceBuilder {
    place: Place,
    feed: FeedName,
    outbox: Option<Outbox>,
    limits: Limits,
    wake: Wake,
}

/// The origin of the connections. `Debug` shows neither, since a URL can hold what is secret.
#[derive(Clone)]
enum Place {
    Url(String),
    Pool(SqlitePool),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url(_) => "Url",
            Self::Pool(_) => "Pool",
        })
    }
}

impl SqliteOutboxSource {
    /// Sets up a source for this feed on the database of a URL (`sqlite:path/to/file.db`).
    pub fn builder(database_url: &str, feed: &FeedName) -> SqliteOutboxSourceBuilder {
        SqliteOutboxSourceBuilder::new(Place::Url(database_url.to_owned()), feed)
    }

    /// Sets up a source for this feed on the application's own pool. It takes a connection for each poll and returns it.
    pub fn on_pool(pool: SqlitePool, feed: &FeedName) -> SqliteOutboxSourceBuilder {
        SqliteOutboxSourceBuilder::new(Place::Pool(pool), feed)
    }
}

impl SqliteOutboxSourceBuilder {
    fn new(place: Place, feed: &FeedName) -> Self {
        Self {
            place,
            feed: feed.clone(),
            outbox: None,
            limits: Limits { page_rows: PAGE_ROWS_MAX, page_bytes: PAGE_BYTES_MAX },
            wake: Wake::new(),
        }
    }

    /// Sets the outbox to capture.
    pub fn outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = Some(outbox);
        self
    }

    /// Sets the handle with which writers in this process wake the source.
    pub fn wake(mut self, wake: Wake) -> Self {
        self.wake = wake;
        self
    }

    /// Limits the rows that are given at once, 10,000 by default and at least 1. A larger transaction may be split.
    pub fn max_page_rows(mut self, rows: u32) -> Self {
        self.limits.page_rows = rows.max(1);
        self
    }

    /// Limits the bytes of payload that are held at a time, 8 MiB by default; one row may exceed it. Splits like
    /// [`max_page_rows`](Self::max_page_rows).
    pub fn max_page_bytes(mut self, bytes: usize) -> Self {
        self.limits.page_bytes = bytes;
        self
    }

    /// Opens the database once to check that the outbox exists.
    ///
    /// # Errors
    ///
    /// [`SourceError::Fatal`] for a malformed URL, a missing or unreadable file, a database in memory, or a missing outbox;
    /// [`SourceError::Transient`] while another program has locked the file.
    pub async fn connect(self) -> Result<SqliteOutboxSource, SourceError> {
        let database = match self.place {
            Place::Pool(pool) => Database::Shared(pool),
            Place::Url(url) => Database::Own(Box::new(SqliteConnectOptions::from_str(&url).map_err(classify)?)),
        };
        let outbox = self
            .outbox
            .ok_or_else(|| SourceError::fatal("no outbox was set", "call outbox() on the builder of the source"))?;
        SqliteOutboxSource::connect(database, self.feed, outbox, self.limits, self.wake).await
    }
}
