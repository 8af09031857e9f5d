//! The guard on a connection to SQLite.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::installation;
use crate::outbox::baseline::Baseline;
use crate::outbox::connection::GuardConnection;
use crate::outbox::connection::sealed::Connection;
use crate::outbox::dialect::Dialect;
use crate::outbox::error::InstallError;
use crate::outbox::event::EventRow;
use crate::outbox::guard::Guard;
use crate::outbox::key::Key;

impl GuardConnection for SqliteConnection {}

impl Connection for SqliteConnection {
    const DIALECT: Dialect = Dialect::Sqlite;
    const PAYLOAD: &str = "$5";
    const NOW: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

    async fn fetch_version(&mut self, sql: String, key: &Key) -> sqlx::Result<Option<i64>> {
        let query = sqlx::query_scalar(AssertSqlSafe(sql));
        let query = match key {
            Key::BigInt(id) => query.bind(*id),
            text => query.bind(text.to_string()),
        };
        query.fetch_optional(self).await
    }

    async fn insert_event(&mut self, sql: String, row: EventRow<'_>) -> sqlx::Result<()> {
        let query = sqlx::query(AssertSqlSafe(sql));
        let query = match row.key {
            Key::BigInt(id) => query.bind(*id),
            text => query.bind(text.to_string()),
        };
        let occurred_at = row.occurred_at.map(|time| time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
        let query = query.bind(row.id.to_string()).bind(row.version).bind(row.event_type).bind(row.payload);
        query.bind(occurred_at).bind(row.traceparent).execute(self).await?;
        Ok(())
    }

    async fn install(&mut self, guard: &Guard) -> Result<(), InstallError> {
        installation::install(self, guard).await
    }

    async fn adopt(&mut self, guard: &Guard, baseline: &Baseline) -> Result<u64, InstallError> {
        installation::adopt(self, guard, baseline).await
    }
}
