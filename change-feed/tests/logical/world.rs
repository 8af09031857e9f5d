//! A database of a test's own, and what tests ask of a source.

use change_feed::outbox::Outbox;
use change_feed::postgres::log::LogicalSourceBuilder;
use change_feed::source::Start;
use change_feed::{
    Change, Changes, Checkpoint, Content, Epoch, EventRecord, FeedIdentity, FeedName, LogicalSource, Position,
    PublisherIdentity, Source, SourceError,
};
use sqlx::PgConnection;
use test_support::Database;
pub(crate) use test_support::{PATIENCE, required};

/// A database of a test's own, a feed of it, and the publication and slot of that.
pub(crate) struct World {
    database: Database,
    /// Names the feed, the publication and the slot.
    pub(crate) feed: FeedName,
}

pub(crate) fn outbox() -> Outbox {
    Outbox::new("order_events", "order_id").event_type_format("order.", ".v1")
}

impl World {
    /// A new database with an outbox on the server of `url`, by a role that may replicate.
    pub(crate) async fn on(url: &str) -> Self {
        Self::with(url, "").await
    }

    /// The same, of a database that is made with these options.
    pub(crate) async fn with(url: &str, options: &str) -> Self {
        let database = Database::with_options("logical", url, options).await;
        database.run(OUTBOX).await;
        let feed = FeedName::new(database.name.clone()).expect("a short name");
        Self { database, feed }
    }

    /// A new database with an outbox, by a role that may replicate.
    pub(crate) async fn new() -> Self {
        Self::on(&required("ADMIN_DATABASE_URL")).await
    }

    /// A column of the slot.
    pub(crate) async fn slot(&self, column: &str) -> Option<String> {
        let slot = format!("select {column}::text from pg_replication_slots where slot_name = '{}'", self.feed);
        self.text(&format!("select ({slot})")).await
    }

    /// Of the outbox, and making what it needs.
    pub(crate) fn builder(&self) -> LogicalSourceBuilder {
        self.bare().outbox(outbox())
    }

    /// Of nothing yet, and making what it needs.
    pub(crate) fn bare(&self) -> LogicalSourceBuilder {
        LogicalSource::builder(&self.url(), &self.feed).create(true)
    }

    /// A source of the outbox that is elected and started.
    pub(crate) async fn started(&self, after: &Position) -> LogicalSource {
        started(self.builder(), after).await
    }

    /// Appends an event in a transaction of its own.
    pub(crate) async fn append(&self, order: &str, version: i64) {
        append(&mut self.pool.acquire().await.expect("a connection"), order, version).await;
    }

    /// A checkpoint of this feed, as its relay would acknowledge it.
    pub(crate) async fn checkpoint(&self, source: &LogicalSource, position: Position) -> Checkpoint {
        let elected = source.elect().await.expect("it is elected");
        let publisher = PublisherIdentity::new("test", "nowhere");
        Checkpoint::new(FeedIdentity::new(self.feed.clone(), Epoch::FIRST, elected.identity, publisher), position)
    }

    pub(crate) async fn acknowledge(&self, source: &LogicalSource, position: Position) {
        let checkpoint = self.checkpoint(source, position).await;
        source.acknowledge(&checkpoint).await.expect("it is elected");
    }
}

impl std::ops::Deref for World {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

pub(crate) async fn append(connection: &mut PgConnection, order: &str, version: i64) {
    sqlx::query("insert into order_events (order_id, version) values ($1, $2)")
        .bind(order)
        .bind(version)
        .execute(connection)
        .await
        .expect("an event");
}

pub(crate) async fn started(builder: LogicalSourceBuilder, after: &Position) -> LogicalSource {
    let source = builder.connect().await.expect("a server with what the feed needs");
    source.elect().await.expect("nobody else is elected");
    source.start(&Start::after(after, Epoch::FIRST)).await.expect("a position of this database");
    source
}

/// Reads until there are so many changes and the last run is complete.
pub(crate) async fn read(source: &LogicalSource, count: usize) -> Vec<Changes> {
    let mut runs: Vec<Changes> = Vec::new();
    let reading = async {
        while changes(&runs).len() < count || runs.last().is_none_or(|run| run.end.position().is_none()) {
            runs.push(source.next().await.expect("the server answers"));
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, reading).await.is_ok();
    assert!(in_time, "only {} of {count} changes came", changes(&runs).len());
    assert_eq!(changes(&runs).len(), count);
    runs
}

/// Reads what can't be given.
pub(crate) async fn refusal(source: &LogicalSource) -> SourceError {
    let reading = async {
        loop {
            if let Err(error) = source.next().await {
                return error;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an error")
}

pub(crate) fn changes(runs: &[Changes]) -> Vec<Change> {
    runs.iter().flat_map(|run| run.changes.clone()).collect()
}

/// The last complete end.
pub(crate) fn end(runs: &[Changes]) -> Position {
    runs.iter().rev().find_map(|run| run.end.position()).expect("a complete end").clone()
}

pub(crate) fn event(change: &Change) -> &EventRecord {
    let Content::Event(event) = &change.content else { panic!("no event: {change:?}") };
    event
}

/// Key and version of each.
pub(crate) fn versions(runs: &[Changes]) -> Vec<(String, u64)> {
    changes(runs).iter().map(event).map(|event| (event.key.to_string(), event.version)).collect()
}

pub(crate) fn version(order: &str, version: u64) -> (String, u64) {
    (order.to_owned(), version)
}

/// The text that a relay's operator sees of an error, with its causes and the remedy.
pub(crate) fn text(error: &SourceError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    if let SourceError::Closed(mismatch) = error {
        text.push_str(&format!("; {}", mismatch.remedy()));
    }
    text
}

/// The columns that the guard makes.
const OUTBOX: &str = "
create table order_events (
    sequence bigint primary key generated always as identity,
    event_id uuid not null default gen_random_uuid(),
    order_id text not null,
    version bigint not null,
    event_type text not null default 'changed',
    payload json not null default '{}',
    occurred_at timestamptz not null default clock_timestamp(),
    traceparent text,
    transaction_id xid8 not null default pg_current_xact_id());
";
