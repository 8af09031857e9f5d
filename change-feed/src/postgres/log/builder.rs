//! The options of a source before it connects.

use std::sync::Arc;
use std::time::Duration;

use super::assembler::RunLimits;
use super::selection::{Selection, TableName};
use super::setup::{Setup, classify};
use super::source::LogicalSource;
use crate::feed::identity::FeedName;
use crate::outbox::table::Outbox;
use crate::postgres::database_url::DatabaseUrl;
use crate::postgres::server::{Server, application_name};
use crate::source::SourceError;
use postgres_replication::ConnectOptions;

const RUN_CHANGES_MAX: usize = 2_000;
const RUN_BYTES_MAX: usize = 1 << 20;
const TRANSACTION_ROWS_MAX: u64 = 5_000_000;
const TRANSACTION_DURATION_MAX_MS: u64 = 30_000;
const ANSWER_TIMEOUT_MS: u64 = 15_000;
const SLOT_WAIT_MS: u64 = 60_000;

/// The options of a [`LogicalSource`] before it connects.
#[derive(Debug, Clone)]
#[must_use]
pub struct LogicalSourceBuilder {
    database_url: String,
    feed: FeedName,
    selection: Selection,
    /// The first table name that did not parse.
    malformed_table: Option<String>,
    publication: String,
    slot: String,
    creates: bool,
    failover: bool,
    slot_wait: Duration,
    limits: RunLimits,
    answer_timeout: Duration,
}

impl LogicalSource {
    /// Begins to describe a source for this feed.
    ///
    /// The URL is `postgres://user:password@host:port/database`; `host=/var/run/postgresql` in its query is a Unix socket. The
    /// connection must reach the server itself: a pooler passes no replication. Several hosts with commas between are tried in
    /// turn, and the primary among them is used; `target_session_attrs=read-write` asks for the primary behind one name.
    pub fn builder(database_url: &str, feed: &FeedName) -> LogicalSourceBuilder {
        LogicalSourceBuilder::new(database_url, feed)
    }
}

impl LogicalSourceBuilder {
    pub(super) fn new(database_url: &str, feed: &FeedName) -> Self {
        Self {
            database_url: database_url.to_owned(),
            feed: feed.clone(),
            selection: Selection::default(),
            malformed_table: None,
            publication: feed.to_string(),
            slot: feed.to_string(),
            creates: false,
            failover: false,
            slot_wait: Duration::from_millis(SLOT_WAIT_MS),
            limits: RunLimits {
                run_changes: RUN_CHANGES_MAX,
                run_bytes: RUN_BYTES_MAX,
                transaction_changes: TRANSACTION_ROWS_MAX,
                transaction_duration: Duration::from_millis(TRANSACTION_DURATION_MAX_MS),
            },
            answer_timeout: Duration::from_millis(ANSWER_TIMEOUT_MS),
        }
    }

    /// An outbox to capture: each row that is inserted is an event. Its updates and deletes, which prune it or erase personal
    /// data, are not events. May be called for several.
    pub fn outbox(mut self, outbox: Outbox) -> Self {
        self.selection.outboxes.push(outbox);
        self
    }

    /// Tables whose rows to capture, as `schema.table` (or `table`, in the schema `public`): not quoted. May be called again for
    /// more. A table that is added to a feed later is captured from then on.
    pub fn tables<T: AsRef<str>>(mut self, tables: impl IntoIterator<Item = T>) -> Self {
        for text in tables {
            match TableName::parse(text.as_ref()) {
                Some(table) => self.selection.tables.push(table),
                None => self.malformed_table = Some(text.as_ref().to_owned()),
            }
        }
        self
    }

    /// Selection the messages of this prefix as events: `select pg_logical_emit_message(true, 'prefix', '{…}')` is an outbox without
    /// a table. Its content is a JSON object with the members `event_id` (a UUID), `key`, `version` (1, 2, 3 …), `event_type`,
    /// `payload` (any JSON), and perhaps `occurred_at` (RFC 3339; else the time of the commit) and `traceparent`.
    ///
    /// The database keeps no rule about them, and forgets them with its log: a feed can't begin with the messages of yesterday. One
    /// that is malformed stops the feed. One that is not transactional is ignored with a warning, since its transaction may roll back.
    pub fn messages(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.selection.messages = Some(prefix.into());
        self
    }

    /// The publication; the feed's name unless set.
    pub fn publication(mut self, name: impl Into<String>) -> Self {
        self.publication = name.into();
        self
    }

    /// The replication slot; the feed's name unless set. Each feed has its own.
    pub fn slot(mut self, name: impl Into<String>) -> Self {
        self.slot = name.into();
        self
    }

    /// Whether to make the publication, to add to it the tables that it lacks (of one that the feed has made itself), and to make the
    /// slot of a feed that is new; not unless set. It takes a role that owns the tables and may create in the database.
    ///
    /// The slot of a feed that has a position is never made anew: what was written meanwhile would be missing.
    pub fn create(mut self, creates: bool) -> Self {
        self.creates = creates;
        self
    }

    /// Whether a slot that is made is to survive a fail-over (PostgreSQL 17 and later, where the standbys synchronize slots); not
    /// unless set.
    pub fn failover(mut self, failover: bool) -> Self {
        self.failover = failover;
        self
    }

    /// How long a slot that is made may wait for the transactions that are open, all of which must end first; 60 s unless set.
    ///
    /// While it waits, the log names them every two seconds. When the time is over nothing is left of the slot, and
    /// [`connect`](Self::connect) fails with [`SourceError::Transient`]. Dropping `connect` gives the slot up at the server too.
    pub fn slot_wait(mut self, wait: Duration) -> Self {
        self.slot_wait = wait;
        self
    }

    /// The most changes of one transaction that pass whole; 5,000,000 unless set, at least 1. A larger transaction is given in parts, each
    /// complete at its own position; the last change of each part but the last names the part that it ends.
    ///
    /// While a transaction is published to Kafka in one piece, `read_committed` readers of its partitions wait for its end.
    pub fn max_transaction_rows(mut self, rows: u64) -> Self {
        self.limits.transaction_changes = rows.max(1);
        self
    }

    /// How long one transaction is given in one piece; 30 s unless set. It is split then like one of too many rows.
    ///
    /// The publisher must be able to keep a transaction open for longer than this: a transaction that is aborted for its age comes again
    /// and is aborted again.
    pub fn max_transaction_duration(mut self, duration: Duration) -> Self {
        self.limits.transaction_duration = duration;
        self
    }

    /// The most changes in one run; 2,000 unless set, at least 1.
    pub fn max_run_rows(mut self, rows: usize) -> Self {
        self.limits.run_changes = rows.max(1);
        self
    }

    /// The bytes that end a run; 1 MiB unless set. With it the source's memory is bounded: about twice this, and one change more.
    pub fn max_run_bytes(mut self, bytes: usize) -> Self {
        self.limits.run_bytes = bytes.max(1);
        self
    }

    /// How long the server may take to answer before it counts as dead; 15 s unless set.
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Connects once to check that the server, the tables and the publication are as the feed needs them, and to
    /// [make](Self::create) what is missing: what commits after `connect` has answered is then in the feed. A slot that is
    /// there is checked when the election is won.
    ///
    /// # Errors
    ///
    /// [`SourceError::Closed`] for what is not set up as it must be, with the remedy; [`SourceError::Fatal`] for a malformed URL or
    /// a server that doesn't let the role in; [`SourceError::Transient`] while the server is away.
    pub async fn connect(self) -> Result<LogicalSource, SourceError> {
        if let Some(table) = self.malformed_table {
            return Err(SourceError::fatal(format!("{table:?} names no table"), "write it as schema.table"));
        }
        if self.selection.is_empty() {
            return Err(SourceError::fatal(
                "nothing is to be captured",
                "call outbox(), tables() or messages() on the builder of the source",
            ));
        }
        let limits = self.limits;
        LogicalSource::connect(self.setup()?, limits).await
    }

    pub(super) fn setup(self) -> Result<Setup, SourceError> {
        let server = Server::new(&self.database_url, &self.feed, self.answer_timeout, "")?;
        let database_url = DatabaseUrl::parse(&self.database_url)?;
        let replication = database_url.addresses().iter().map(|url| {
            let options: ConnectOptions = url.parse().map_err(classify)?;
            Ok(options.application_name(application_name(&self.feed)).answer_limit(self.answer_timeout))
        });
        let replication = replication.collect::<Result<_, SourceError>>()?;
        Ok(Setup {
            server,
            replication,
            feed: self.feed,
            selection: self.selection,
            publication: self.publication,
            slot: self.slot,
            creates: self.creates,
            failover: self.failover,
            slot_wait: self.slot_wait,
        })
    }
}
