//! What a SQLite source is given before it connects.

use std::str::FromStr as _;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::database::{Database, judge};
use super::reader::Limits;
use super::source::SqliteOutboxSource;
use crate::feed::identity::FeedName;
use crate::outbox::pace::Wake;
use crate::outbox::table::Outbox;
use crate::source::SourceError;

const PAGE_ROWS_MAX: u32 = 10_000;
const PAGE_BYTES_MAX: usize = 8 << 20;

/// What a [`SqliteOutboxSource`] is given before it connects.
#[derive(Debug, Clone)]
#[must_use]
pub struct SqliteOutboxSourceBuilder {
    place: Place,
    feed: FeedName,
    outbox: Option<Outbox>,
    limits: Limits,
    wake: Wake,
}

#[derive(Debug, Clone)]
enum Place {
    Url(String),
    Pool(SqlitePool),
}

impl SqliteOutboxSourceBuilder {
    pub(super) fn with_url(database_url: &str, feed: &FeedName) -> Self {
        Self::new(Place::Url(database_url.to_owned()), feed)
    }

    pub(super) fn with_pool(pool: SqlitePool, feed: &FeedName) -> Self {
        Self::new(Place::Pool(pool), feed)
    }

    fn new(place: Place, feed: &FeedName) -> Self {
        Self {
            place,
            feed: feed.clone(),
            outbox: None,
            limits: Limits { page_rows: PAGE_ROWS_MAX, page_bytes: PAGE_BYTES_MAX },
            wake: Wake::new(),
        }
    }

    /// The outbox to capture.
    pub fn outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = Some(outbox);
        self
    }

    /// The handle by which writers in this process wake the source.
    pub fn wake(mut self, wake: Wake) -> Self {
        self.wake = wake;
        self
    }

    /// The most rows that are given as one; 10,000 unless set, at least 1. Above, a transaction may be split.
    pub fn max_page_rows(mut self, rows: u32) -> Self {
        self.limits.page_rows = rows.max(1);
        self
    }

    /// The most bytes of payload that are held at a time, and one row more; 8 MiB unless set. Splits like
    /// [`max_page_rows`](Self::max_page_rows).
    pub fn max_page_bytes(mut self, bytes: usize) -> Self {
        self.limits.page_bytes = bytes;
        self
    }

    /// Opens the database once to check that the outbox is there.
    ///
    /// # Errors
    ///
    /// [`SourceError::Fatal`] for a malformed URL, a missing or unreadable file, a database in memory, an outbox that is missing;
    /// [`SourceError::Transient`] while another program locks the file.
    pub async fn connect(self) -> Result<SqliteOutboxSource, SourceError> {
        let database = match self.place {
            Place::Pool(pool) => Database::Shared(pool),
            Place::Url(url) => Database::Own(Box::new(SqliteConnectOptions::from_str(&url).map_err(judge)?)),
        };
        let outbox = self
            .outbox
            .ok_or_else(|| SourceError::fatal("no outbox was named", "call outbox() on the builder of the source"))?;
        SqliteOutboxSource::connect(database, self.feed, outbox, self.limits, self.wake).await
    }
}
