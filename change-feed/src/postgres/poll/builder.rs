//! The options of a poller before it connects.

use std::time::Duration;

use super::limits::PollLimits;
use super::source::PostgresPollSource;
use crate::feed::identity::FeedName;
use crate::outbox::pace::Wake;
use crate::outbox::table::Outbox;
use crate::postgres::server::Server;
use crate::source::SourceError;

const WINDOW_ROWS_MAX: u32 = 10_000;
const PAGE_BYTES_MAX: usize = 8 << 20;
const ANSWER_TIMEOUT_MS: u64 = 15_000;

/// What a poll reads must not grow with the table, whatever the statistics say: nothing but an index scan is left to
/// choose.
const PLANS: &str = "set enable_seqscan = off; set enable_bitmapscan = off;";

/// The options of a [`PostgresPollSource`] before it connects.
#[derive(Debug, Clone)]
#[must_use]
pub struct PostgresPollSourceBuilder {
    database_url: String,
    feed: FeedName,
    outbox: Option<Outbox>,
    limits: PollLimits,
    answer_timeout: Duration,
    wake: Wake,
}

impl PostgresPollSource {
    /// Begins to describe a source for this feed.
    ///
    /// The URL is `postgres://user:password@host:port/database`. The connection must reach the server itself or a
    /// pooler in session mode.
    pub fn builder(database_url: &str, feed: &FeedName) -> PostgresPollSourceBuilder {
        PostgresPollSourceBuilder::new(database_url, feed)
    }
}

impl PostgresPollSourceBuilder {
    pub(super) fn new(database_url: &str, feed: &FeedName) -> Self {
        Self {
            database_url: database_url.to_owned(),
            feed: feed.clone(),
            outbox: None,
            limits: PollLimits { window_rows: WINDOW_ROWS_MAX, page_bytes: PAGE_BYTES_MAX },
            answer_timeout: Duration::from_millis(ANSWER_TIMEOUT_MS),
            wake: Wake::new(),
        }
    }

    /// The outbox to worker.
    pub fn outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = Some(outbox);
        self
    }

    /// The handle by which writers in this process wake the source.
    pub fn wake(mut self, wake: Wake) -> Self {
        self.wake = wake;
        self
    }

    /// The most rows that are given as one; 10,000 unless set, at least 1. What became visible at once and
    /// is more comes in pages, each complete at its own position: there a transaction is split.
    pub fn max_window_rows(mut self, rows: u32) -> Self {
        self.limits.window_rows = rows.max(1);
        self
    }

    /// The most bytes of payload that are held at a time, and one row more; 8 MiB unless set. Splits like
    /// [`max_window_rows`](Self::max_window_rows).
    pub fn max_page_bytes(mut self, bytes: usize) -> Self {
        self.limits.page_bytes = bytes;
        self
    }

    /// How long the server may take to answer before it counts as dead; 15 s unless set.
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Connects once to check that the server can be polled and the outbox is there.
    ///
    /// # Errors
    ///
    /// [`SourceError::Fatal`] for a malformed URL, a role that may not connect or read, a standby, an outbox that
    /// is missing or lacks an index; [`SourceError::Transient`] while the server is away.
    pub async fn connect(self) -> Result<PostgresPollSource, SourceError> {
        let server = Server::new(&self.database_url, &self.feed, self.answer_timeout, PLANS)?;
        let outbox = self
            .outbox
            .ok_or_else(|| SourceError::fatal("no outbox was named", "call outbox() on the builder of the source"))?;
        PostgresPollSource::connect(server, self.feed, outbox, self.limits, self.wake).await
    }
}
