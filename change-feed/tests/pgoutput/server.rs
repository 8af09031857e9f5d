//! A server, and what it sends.

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, FromRow, PgConnection};
use uuid::Uuid;

/// A database of the test's own with a publication `feed`, and in it a session with a slot of its own.
pub(crate) struct Server {
    session: PgConnection,
    slot: String,
    origin: String,
}

/// The URL that a test runs with.
fn required(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test, or eval \"$(scripts/services env)\""))
}

impl Server {
    /// With these tables, whose changes are published; as an administrator, since replication origins are for nobody
    /// else.
    pub(crate) async fn new(tables: &str) -> Self {
        let server: PgConnectOptions = required("ADMIN_DATABASE_URL").parse().expect("the URL of a server");
        let id = Uuid::now_v7().simple().to_string();
        let name = format!("pgoutput_{id}");
        let mut connection = server.connect().await.expect("the server answers");
        let create = format!("create database {name} template template0 encoding 'UTF8'");
        connection.execute(AssertSqlSafe(create)).await.expect("a new database");
        let options = server.database(&name).options([("TimeZone", "UTC"), ("DateStyle", "ISO")]);
        let session = options.disable_statement_logging().connect().await.expect("a session");
        let mut server = Self { session, slot: name, origin: format!("upstream_{id}") };
        server.execute(tables).await;
        server.execute("create publication feed for all tables").await;
        // Temporary: it goes with the session, however the test ends.
        let create = format!("select pg_create_logical_replication_slot('{}', 'pgoutput', true)", server.slot);
        server.execute(&create).await;
        server
    }

    pub(crate) async fn execute(&mut self, sql: &str) {
        let executed = self.session.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await;
        executed.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The one row of a query.
    pub(crate) async fn row<R: for<'r> FromRow<'r, PgRow> + Send + Unpin>(&mut self, sql: &str) -> R {
        let asked = sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.session).await;
        asked.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The messages since the last call.
    pub(crate) async fn changes(&mut self, binary: bool) -> Vec<Vec<u8>> {
        let changes = "select data from pg_logical_slot_get_binary_changes($1, null, null,
            'proto_version', '1', 'publication_names', 'feed', 'messages', 'true', 'binary', $2)";
        let asked = sqlx::query_scalar(changes).bind(&self.slot).bind(binary.to_string());
        asked.fetch_all(&mut self.session).await.expect("changes")
    }

    /// The next transactions are said to come from another server.
    pub(crate) async fn enter_origin(&mut self) {
        let origin = self.origin.clone();
        self.execute(&format!("select pg_replication_origin_create('{origin}')")).await;
        self.execute(&format!("select pg_replication_origin_session_setup('{origin}')")).await;
    }

    pub(crate) async fn leave_origin(&mut self) {
        let origin = self.origin.clone();
        self.execute("select pg_replication_origin_session_reset()").await;
        self.execute(&format!("select pg_replication_origin_drop('{origin}')")).await;
    }

    pub(crate) async fn major_version(&mut self) -> u32 {
        let (number,): (String,) = self.row("select current_setting('server_version_num')").await;
        number.parse::<u32>().expect("a number") / 10_000
    }

    pub(crate) async fn end(self) {
        self.session.close().await.expect("an orderly end");
    }
}
