//! A database of a test's own on the shared server, with a table that is published.

use postgres_replication::Lsn;
use postgres_replication::{
    ConnectOptions, Frame, NewSlot, ReplicationConnection, ReplicationError, ReplicationStream, StartOptions, XLogData,
};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use test_support::{PATIENCE, execute, required, until};

pub(crate) const PUBLICATION: &str = "told";

/// A database of a test's own, with the published table `notes (id, body)` and a slot.
pub(crate) struct Database {
    url: String,
    pub(crate) name: String,
    pub(crate) slot: String,
    pub(crate) sql: PgConnection,
    database: test_support::Database,
}

impl Database {
    /// On the server that all tests share.
    pub(crate) async fn new() -> Self {
        Self::on(&required("ADMIN_DATABASE_URL")).await
    }

    /// On the server of this administrator's URL.
    pub(crate) async fn on(admin: &str) -> Self {
        let database = test_support::Database::create("replication", admin).await;
        database.run("CREATE TABLE notes (id bigint PRIMARY KEY, body text NOT NULL)").await;
        database.run(&format!("CREATE PUBLICATION {PUBLICATION} FOR TABLE notes")).await;
        let url = format!("{}/{}", admin.rsplit_once('/').expect("a URL with a database").0, database.name);
        let (name, sql) = (database.name.clone(), database.connect().await);
        Self { url, slot: name.clone(), name, sql, database }
    }

    /// The same, and its slot is made.
    pub(crate) async fn with_slot() -> Self {
        let database = Self::new().await;
        database.create_slot().await;
        database
    }

    pub(crate) async fn create_slot(&self) {
        let mut connection = self.connect().await;
        connection.create_slot(&NewSlot::new(&self.slot)).await.expect("a slot");
        connection.close().await;
    }

    /// Without parameters.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn options(&self) -> ConnectOptions {
        self.url().parse().expect("a URL")
    }

    pub(crate) async fn connect(&self) -> ReplicationConnection {
        ReplicationConnection::connect(&self.options()).await.expect("a replication connection")
    }

    pub(crate) async fn stream(&self) -> ReplicationStream {
        self.stream_after(Lsn::INVALID).await.expect("a stream")
    }

    pub(crate) async fn stream_after(&self, after: Lsn) -> Result<ReplicationStream, ReplicationError> {
        self.connect().await.start(&self.slot, after, &StartOptions::new([PUBLICATION])).await
    }

    /// Commits rows of these numbers in one transaction.
    pub(crate) async fn commit(&mut self, ids: std::ops::Range<i64>) {
        let (first, last) = (ids.start, ids.end - 1);
        let insert = format!("INSERT INTO notes SELECT i, 'note ' || i FROM generate_series({first}, {last}) i");
        execute(&mut self.sql, &insert).await;
    }

    pub(crate) async fn execute(&mut self, statement: &str) {
        execute(&mut self.sql, statement).await;
    }

    pub(crate) async fn text(&mut self, query: &str) -> Option<String> {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut self.sql).await.expect("an answer")
    }

    /// Where the server's log ends.
    pub(crate) async fn log_end(&mut self) -> Lsn {
        let text = self.text("SELECT pg_current_wal_flush_lsn()::text").await.expect("a place");
        text.parse().expect("an LSN")
    }

    /// How far the slot is confirmed.
    pub(crate) async fn confirmed(&mut self) -> Lsn {
        let query =
            format!("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{}'", self.slot);
        self.text(&query).await.expect("a place").parse().expect("an LSN")
    }

    /// The process of the server that serves the slot.
    pub(crate) async fn slot_process(&mut self) -> Option<String> {
        let query = format!("SELECT max(active_pid)::text FROM pg_replication_slots WHERE slot_name = '{}'", self.slot);
        self.text(&query).await
    }

    /// Waits until nobody uses the slot.
    pub(crate) async fn wait_until_free(&mut self) {
        until("nobody uses the slot", async || self.slot_process().await.is_none()).await;
    }

    /// Connects again after the server was away.
    pub(crate) async fn reconnect(&mut self) {
        self.sql = self.database.connect().await;
    }

    /// Waits until the slot is confirmed through this place.
    pub(crate) async fn wait_until_confirmed(&mut self, through: Lsn) {
        until(&format!("the slot is confirmed through {through}"), async || self.confirmed().await >= through).await;
    }

    /// Checks that nobody uses the slot any more, and removes it and the database.
    pub(crate) async fn drop(mut self) {
        // The server says why it refuses before it lets go of the slot.
        self.wait_until_free().await;
        self.sql.close().await.expect("the connection ends");
    }
}

/// The numbers of the rows that a message of pgoutput inserts: the text of the first column.
pub(crate) fn inserted_id(message: &XLogData) -> Option<i64> {
    let data = message.data.strip_prefix(b"I")?;
    // Relation, 'N', number of columns, 't', length, text.
    let length = usize::try_from(u32::from_be_bytes(data.get(8..12)?.try_into().ok()?)).ok()?;
    std::str::from_utf8(data.get(12..12 + length)?).ok()?.parse().ok()
}

/// What was read of a stream.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) ids: Vec<i64>,
    /// The ends of the transactions that were read whole.
    pub(crate) commits: Vec<Lsn>,
}

impl Read {
    pub(crate) fn take(&mut self, message: &XLogData) {
        self.ids.extend(inserted_id(message));
        if message.data.first() == Some(&b'C') {
            self.commits.push(message.wal_end);
        }
    }

    /// Reads until so many transactions are whole.
    pub(crate) async fn transactions(stream: &mut ReplicationStream, transactions: usize) -> Self {
        let mut read = Self::default();
        while read.commits.len() < transactions {
            let frame = tokio::time::timeout(PATIENCE, stream.next()).await.expect("a frame in time");
            if let Frame::Data(message) = frame.expect("a frame") {
                read.take(&message);
            }
        }
        read
    }
}
