//! A database, a feed and a topic of a test's own, on the real servers.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

use change_feed::EventId;
use change_feed::judge::{Delivery, Expected, History, Judge, Verdict};
use change_feed::kafka::{KafkaReader, Received};

use crate::program::{PATIENCE, Start};

/// A database, a feed and a topic of a test's own.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) database: PgConnectOptions,
    pub(crate) topic: String,
    pub(crate) feed: String,
    pub(crate) folder: TempDir,
}

/// The URL or the address that a test runs with.
pub(crate) fn required(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test, or eval \"$(scripts/services env)\""))
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::on("DATABASE_URL").await
    }

    /// On a server where the storefront's role may replicate.
    pub(crate) async fn replicating() -> Self {
        Self::on("ADMIN_DATABASE_URL").await
    }

    async fn on(server: &str) -> Self {
        let id = Uuid::now_v7().simple().to_string();
        Self {
            database: database(&required(server), &format!("storefront_{id}")).await,
            topic: format!("test.storefront.{id}"),
            feed: format!("test_{id}"),
            folder: TempDir::new().expect("a folder for temporary files"),
        }
    }

    /// A storefront on this database and feed, with Kafka at these brokers.
    pub(crate) fn start_with(&self, brokers: &str) -> Start {
        Start::within(self.folder.path())
            .env("DATABASE_URL", self.database.to_url_lossy().as_str())
            .env("KAFKA_BROKERS", brokers)
            .args(&["--topic", &self.topic, "--feed", &self.feed])
    }

    /// A storefront on this database and feed, with the real Kafka.
    pub(crate) fn start(&self) -> Start {
        self.start_with(&required("KAFKA_BROKERS"))
    }

    pub(crate) async fn connection(&self) -> PgConnection {
        self.database.connect().await.expect("a connection")
    }

    /// Everything in the topic, as `read_committed` consumers see it.
    pub(crate) async fn records(&self) -> Vec<Received> {
        let brokers = required("KAFKA_BROKERS");
        let opening = KafkaReader::builder(&brokers, self.topic.as_str()).open();
        let mut reader = tokio::time::timeout(PATIENCE, opening).await.expect("in time").expect("the topic");
        tokio::time::timeout(PATIENCE, reader.read_to_end()).await.expect("in time").expect("events")
    }

    /// Waits until the topic has an event for each row of the outbox, and compares the two.
    pub(crate) async fn verdict(&self) -> Verdict {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let (history, records) = (self.history().await, self.records().await);
            if records.len() >= history.len() || tokio::time::Instant::now() > deadline {
                let mut judge = Judge::new(history, Delivery::ExactlyOnce);
                records.iter().for_each(|record| judge.observe(&record.event.observed()));
                return judge.verdict();
            }
        }
    }

    async fn history(&self) -> History {
        let mut connection = self.connection().await;
        let rows: Vec<(String, i64, Uuid)> =
            sqlx::query_as("select order_id::text, version, event_id from order_events")
                .fetch_all(&mut connection)
                .await
                .expect("the outbox");
        connection.close().await.expect("closed");
        let mut history = History::new();
        for (key, version, event_id) in &rows {
            let (version, event_id) = (version.unsigned_abs(), EventId::new(*event_id));
            history.add(Expected { key, version, event_id, transaction: None });
        }
        history
    }
}

/// A new database of the server's role.
async fn database(server: &str, name: &str) -> PgConnectOptions {
    let server: PgConnectOptions = server.parse().expect("the URL of a server");
    let mut connection = server.connect().await.expect("the server answers");
    let create = format!("create database {name}");
    connection.execute(AssertSqlSafe(create)).await.expect("a role that creates databases");
    connection.close().await.expect("closed");
    server.database(name)
}
