//! A session, and what the server's decoder sends for what it does.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, FromRow};

use crate::database::{Database, execute};

/// A session in a database of its own, with a publication `feed` of all tables and a slot.
pub struct PgoutputSession {
    session: PgConnection,
    database: Database,
}

impl PgoutputSession {
    /// Makes these tables, whose changes are published; as an administrator, since replication origins are for nobody
    /// else.
    pub async fn new(tables: &str) -> Self {
        let database = Database::by_administrator("pgoutput").await;
        let options = database.options.clone().options([("TimeZone", "UTC"), ("DateStyle", "ISO")]);
        let mut session = options.connect().await.expect("a session");
        execute(&mut session, tables).await;
        execute(&mut session, "create publication feed for all tables").await;
        // Temporary: it goes with the session, however the test ends.
        let slot = format!("select pg_create_logical_replication_slot('{}', 'pgoutput', true)", database.name);
        execute(&mut session, &slot).await;
        Self { session, database }
    }

    /// The name of the database and of the slot.
    pub fn name(&self) -> &str {
        &self.database.name
    }

    /// Runs statements that answer nothing.
    pub async fn execute(&mut self, script: &str) {
        execute(&mut self.session, script).await;
    }

    /// The one row of a query.
    pub async fn row<R: for<'r> FromRow<'r, PgRow> + Send + Unpin>(&mut self, query: &str) -> R {
        sqlx::query_as(AssertSqlSafe(query.to_owned())).fetch_one(&mut self.session).await.expect(query)
    }

    /// The messages since the last call.
    pub async fn changes(&mut self, binary: bool) -> Vec<Vec<u8>> {
        let changes = "select data from pg_logical_slot_get_binary_changes($1, null, null,
            'proto_version', '1', 'publication_names', 'feed', 'messages', 'true', 'binary', $2)";
        let asked = sqlx::query_scalar(changes).bind(&self.database.name).bind(binary.to_string());
        asked.fetch_all(&mut self.session).await.expect("changes")
    }

    /// Ends the session, and checks that it was sound.
    pub async fn end(self) {
        self.session.close().await.expect("an orderly end");
    }
}
