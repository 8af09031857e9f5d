//! The suite of sources on an outbox of SQLite, written through the guard.

use async_trait::async_trait;
use change_feed::conformance::source::{self, Capabilities, Database, NewEvent, SourceHarness, Writer};
use change_feed::conformance::{HarnessError, NotConforming};
use change_feed::outbox::{Event, Guard, KeyType};
use change_feed::{FeedName, Source, SqliteOutboxSource};
use serde_json::Value;
use sqlx::Sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outbox_of_sqlite_keeps_the_contract_of_a_source() -> Result<(), NotConforming> {
    let report = source::run(&Files).await.into_result()?;
    let not_claimed = [
        "no-loss-with-concurrent-writers",
        "transaction-places-are-right",
        "every-chunk-can-be-started-from",
        "rejoin-gives-a-baseline",
    ];
    assert!(report.not_applicable().eq(not_claimed), "{report}");
    Ok(())
}

struct Files;

#[async_trait]
impl SourceHarness for Files {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new().refuses_positions_past_its_end().tells_lag()
    }

    async fn database(&self) -> Result<Box<dyn Database>, HarnessError> {
        let folder = TempDir::new()?;
        let path = folder.path().join("store.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal).busy_timeout(std::time::Duration::from_secs(60));
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        let mut connection = pool.acquire().await?;
        let carts = "create table carts (cart_id text primary key not null, version integer not null) strict";
        sqlx::query(carts).execute(&mut *connection).await?;
        guard().install(&mut *connection).await?;
        drop(connection);
        Ok(Box::new(File { pool, url: format!("sqlite:{}", path.display()), _folder: folder }))
    }
}

fn guard() -> Guard {
    Guard::new("carts").key("cart_id").key_type(KeyType::Text).outbox("cart_events")
}

struct File {
    pool: SqlitePool,
    url: String,
    _folder: TempDir,
}

#[async_trait]
impl Database for File {
    async fn source(&self, feed: &FeedName) -> Result<Box<dyn Source>, HarnessError> {
        let builder = SqliteOutboxSource::builder(&self.url, feed).outbox(guard().outbox_table());
        Ok(Box::new(builder.connect().await?))
    }

    async fn begin(&self) -> Result<Box<dyn Writer>, HarnessError> {
        Ok(Box::new(Transaction(self.pool.begin_with("begin immediate").await?)))
    }
}

struct Transaction(sqlx::Transaction<'static, Sqlite>);

#[async_trait]
impl Writer for Transaction {
    async fn append(&mut self, events: &[NewEvent]) -> Result<(), HarnessError> {
        let guard = guard();
        for event in events {
            if event.version == 1 {
                let new = sqlx::query("insert into carts (cart_id, version) values ($1, 1)").bind(&event.key);
                new.execute(&mut *self.0).await?;
            } else {
                guard.begin(&mut *self.0, event.key.as_str()).await?;
            }
            let payload: Value = serde_json::from_str(&event.payload)?;
            let version = i64::try_from(event.version)?;
            let mut appended = Event::new(&event.event_type, event.key.as_str(), version, &payload)
                .with_id(*event.event_id.as_uuid())
                .occurred_at(event.occurred_at);
            if let Some(traceparent) = &event.traceparent {
                appended = appended.traceparent(traceparent);
            }
            guard.append(&mut *self.0, appended).await?;
        }
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), HarnessError> {
        Ok(self.0.commit().await?)
    }

    async fn roll_back(self: Box<Self>) -> Result<(), HarnessError> {
        Ok(self.0.rollback().await?)
    }
}
