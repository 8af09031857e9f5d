//! The suite of sources on an outbox of PostgreSQL, polled and read from the log, written through the guard.

use async_trait::async_trait;
use change_feed::conformance::source::{self, Capabilities, Database, NewEvent, SourceHarness, Writer};
use change_feed::conformance::{HarnessError, NotConforming};
use change_feed::outbox::{Event, Guard};
use change_feed::{FeedName, PostgresPollSource, Source};
use serde_json::Value;
use sqlx::Postgres;
use test_support::required;
use uuid::Uuid;

mod log;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_polled_outbox_of_postgresql_keeps_the_contract_of_a_source() -> Result<(), NotConforming> {
    let report = source::run(&Polled).await.into_result()?;
    // Transaction ids are of the whole server: another database of it is no shorter.
    let not_claimed =
        ["position-past-the-end-is-refused", "every-chunk-can-be-started-from", "rejoin-gives-a-baseline"];
    assert!(report.not_applicable().eq(not_claimed), "{report}");
    Ok(())
}

struct Polled;

#[async_trait]
impl SourceHarness for Polled {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new().concurrent_writers().tells_transactions().tells_lag()
    }

    async fn database(&self) -> Result<Box<dyn Database>, HarnessError> {
        Ok(Box::new(PolledCarts(Carts::create("DATABASE_URL").await?)))
    }
}

struct PolledCarts(Carts);

#[async_trait]
impl Database for PolledCarts {
    async fn source(&self, feed: &FeedName) -> Result<Box<dyn Source>, HarnessError> {
        let builder = PostgresPollSource::builder(&self.0.0.url(), feed).outbox(guard().outbox_table());
        Ok(Box::new(builder.connect().await?))
    }

    async fn begin(&self) -> Result<Box<dyn Writer>, HarnessError> {
        self.0.begin().await
    }
}

/// A database of its own with an aggregate and its outbox.
struct Carts(test_support::Database);

impl Carts {
    /// On the server, and as the role, of the URL in this variable of the environment.
    async fn create(variable: &str) -> Result<Self, HarnessError> {
        let database = test_support::Database::create("conformance", &required(variable)).await;
        database.run("create table carts (cart_id uuid primary key, version bigint not null)").await;
        guard().install(&mut *database.pool.acquire().await?).await?;
        Ok(Self(database))
    }

    async fn begin(&self) -> Result<Box<dyn Writer>, HarnessError> {
        Ok(Box::new(Transaction(self.0.pool.begin().await?)))
    }
}

fn guard() -> Guard {
    Guard::new("carts").key("cart_id").outbox("cart_events")
}

struct Transaction(sqlx::Transaction<'static, Postgres>);

#[async_trait]
impl Writer for Transaction {
    async fn append(&mut self, events: &[NewEvent]) -> Result<(), HarnessError> {
        let guard = guard();
        for event in events {
            let key: Uuid = event.key.parse()?;
            if event.version == 1 {
                let new = sqlx::query("insert into carts (cart_id, version) values ($1, 1)").bind(key);
                new.execute(&mut *self.0).await?;
            } else {
                guard.begin(&mut *self.0, key).await?;
            }
            let payload: Value = serde_json::from_str(&event.payload)?;
            let version = i64::try_from(event.version)?;
            let mut appended = Event::new(&event.event_type, key, version, &payload)
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
