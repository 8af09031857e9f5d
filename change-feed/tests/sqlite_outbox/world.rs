//! A file of a test's own, with carts and their outbox, and what tests ask of a source.

use std::path::{Path, PathBuf};
use std::time::Duration;

use change_feed::outbox::{Event, Guard};
use change_feed::source::Start;
use change_feed::sqlite::SqliteOutboxSourceBuilder;
use change_feed::{
    Change, Changes, Checkpoint, Content, Epoch, FeedIdentity, FeedName, Position, PublisherIdentity, Source,
    SourceError, SourceIdentity, SqliteOutboxSource,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
pub(crate) use test_support::PATIENCE;

/// A file of a test's own.
pub(crate) struct World {
    pub(crate) pool: SqlitePool,
    pub(crate) path: PathBuf,
    _folder: TempDir,
}

/// A version of a cart.
pub(crate) type Version = (String, u64);

pub(crate) fn feed() -> FeedName {
    FeedName::new("carts").expect("a valid name")
}

pub(crate) fn guard() -> Guard {
    Guard::new("carts").key("cart_id").outbox("cart_events")
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::in_mode(SqliteJournalMode::Wal).await
    }

    pub(crate) async fn in_mode(mode: SqliteJournalMode) -> Self {
        let folder = TempDir::new().expect("a folder for temporary files");
        let path = folder.path().join("store.db");
        let options = options(&path).create_if_missing(true).journal_mode(mode);
        let pool = SqlitePoolOptions::new().max_connections(6).connect_with(options).await.expect("a new file");
        let mut connection = pool.acquire().await.expect("a connection");
        let carts = "create table carts (cart_id text primary key not null, version integer not null) strict";
        sqlx::query(carts).execute(&mut *connection).await.expect("a new table");
        guard().install(&mut *connection).await.expect("a guarded table");
        drop(connection);
        Self { pool, path, _folder: folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    pub(crate) fn builder(&self) -> SqliteOutboxSourceBuilder {
        SqliteOutboxSource::builder(&self.url(), &feed()).outbox(guard().outbox_table())
    }

    pub(crate) async fn source(&self) -> SqliteOutboxSource {
        self.builder().connect().await.expect("a file and an outbox")
    }

    pub(crate) async fn started(&self, after: &Position) -> SqliteOutboxSource {
        started(self.builder(), after).await
    }

    /// One committed transaction with an event for each of `carts`.
    pub(crate) async fn change(&self, carts: &[&str]) {
        let mut connection = self.pool.acquire().await.expect("a connection");
        change(&mut connection, carts, "{}").await;
    }

    /// What committed, in the order of the sequence.
    pub(crate) async fn history(&self) -> Vec<Version> {
        let asked = sqlx::query_as("select cart_id, version from cart_events order by sequence");
        let rows: Vec<(String, i64)> = asked.fetch_all(&self.pool).await.expect("the history");
        rows.into_iter().map(|(cart, version)| (cart, version.unsigned_abs())).collect()
    }
}

pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE)
}

/// One committed transaction with an event for each of `carts`, each with this payload.
pub(crate) async fn change(connection: &mut SqliteConnection, carts: &[&str], payload: &str) {
    let guard = guard();
    let mut transaction = connection.begin_with("begin immediate").await.expect("a transaction");
    for &cart in carts {
        let insert = "insert into carts (cart_id, version) values ($1, 1) on conflict do nothing";
        let new = sqlx::query(insert).bind(cart).execute(&mut *transaction).await.expect("a cart").rows_affected();
        let version = if new == 1 { 1 } else { guard.begin(&mut *transaction, cart).await.expect("a step") };
        let event = Event::new("cart.changed.v1", cart, version, payload);
        guard.append(&mut *transaction, event).await.expect("an event");
    }
    transaction.commit().await.expect("a commit");
}

pub(crate) async fn started(builder: SqliteOutboxSourceBuilder, after: &Position) -> SqliteOutboxSource {
    let source = builder.connect().await.expect("a file and an outbox");
    source.elect().await.expect("nobody else is elected");
    source.start(&Start::after(after, Epoch::FIRST)).await.expect("a position of this file");
    source
}

/// The next changes, which are expected to come.
pub(crate) async fn next(source: &SqliteOutboxSource) -> Changes {
    let next = tokio::time::timeout(PATIENCE, source.next()).await.expect("changes come");
    next.expect("the source works")
}

/// That nothing comes for a while in which the source looks several times.
pub(crate) async fn nothing_comes(source: &SqliteOutboxSource) {
    let waited = tokio::time::timeout(Duration::from_millis(600), source.next()).await;
    assert!(waited.is_err(), "came: {waited:?}");
}

pub(crate) fn versions(changes: &[Change]) -> Vec<Version> {
    let version = |change: &Change| {
        let Content::Event(event) = &change.content else { panic!("no event: {change:?}") };
        (event.key.to_string(), event.version)
    };
    changes.iter().map(version).collect()
}

pub(crate) fn end(changes: &Changes) -> Position {
    changes.end.position().expect("its runs are complete").clone()
}

/// A checkpoint as a relay would store it.
pub(crate) fn checkpoint(source: SourceIdentity, epoch: Epoch, position: Position) -> Checkpoint {
    let publisher = PublisherIdentity::new("memory", "test");
    Checkpoint::new(FeedIdentity::new(feed(), epoch, source, publisher), position)
}

/// The text that a relay's operator sees of an error, with its causes.
pub(crate) fn text(error: &SourceError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}
