//! A database of a test's own on the shared server, with a table that is published.

use std::time::{Duration, Instant};

use postgres_replication::Lsn;
use postgres_replication::{
    ConnectOptions, Frame, NewSlot, ReplicationConnection, ReplicationError, ReplicationStream, StartOptions, XLogData,
};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use uuid::Uuid;

pub(crate) const PUBLICATION: &str = "told";
/// Waits are for what happens soon on an idle machine; a loaded one may take its time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A database of a test's own, with the published table `notes (id, body)` and a slot.
pub(crate) struct Database {
    /// With the administrator's role, up to the name of the database.
    base: String,
    pub(crate) name: String,
    pub(crate) slot: String,
    pub(crate) sql: PgConnection,
}

impl Database {
    /// On the server that all tests share.
    pub(crate) async fn new() -> Self {
        Self::on(&shared_url()).await
    }

    /// On the server of this administrator's URL.
    pub(crate) async fn on(admin: &str) -> Self {
        let name = format!("replication_{}", Uuid::now_v7().simple());
        let base = admin.rsplit_once('/').expect("a URL with a database").0.to_owned();
        let mut connection = PgConnection::connect(admin).await.expect("the administrator's database");
        execute(&mut connection, &format!("CREATE DATABASE {name}")).await;
        connection.close().await.expect("the connection ends");

        let mut sql = PgConnection::connect(&format!("{base}/{name}")).await.expect("the new database");
        execute(&mut sql, "CREATE TABLE notes (id bigint PRIMARY KEY, body text NOT NULL)").await;
        execute(&mut sql, &format!("CREATE PUBLICATION {PUBLICATION} FOR TABLE notes")).await;
        Self { base, slot: name.clone(), name, sql }
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

    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.base, self.name)
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
        let deadline = Instant::now() + PATIENCE;
        while let Some(process) = self.slot_process().await {
            assert!(Instant::now() < deadline, "process {process} uses the slot");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Connects again after the server was away.
    pub(crate) async fn reconnect(&mut self) {
        self.sql = PgConnection::connect(&self.url()).await.expect("the database");
    }

    /// Waits until the slot is confirmed through this place.
    pub(crate) async fn wait_until_confirmed(&mut self, through: Lsn) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let confirmed = self.confirmed().await;
            if confirmed >= through {
                return;
            }
            assert!(Instant::now() < deadline, "confirmed through {confirmed}, not {through}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Removes the slot and the database. A test that fails leaves them to the end of the server.
    pub(crate) async fn drop(mut self) {
        // The server says why it refuses before it lets go of the slot.
        self.wait_until_free().await;
        let drop_slot = format!(
            "SELECT pg_drop_replication_slot('{}') FROM pg_replication_slots WHERE slot_name = '{0}'",
            self.slot
        );
        execute(&mut self.sql, &drop_slot).await;
        self.sql.close().await.expect("the connection ends");
        let mut connection = PgConnection::connect(&format!("{}/postgres", self.base)).await.expect("the server");
        execute(&mut connection, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

pub(crate) fn shared_url() -> String {
    std::env::var("ADMIN_DATABASE_URL")
        .expect("ADMIN_DATABASE_URL is not set: run scripts/test, or eval \"$(scripts/services env)\"")
}

pub(crate) async fn execute(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await.expect(statement);
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
