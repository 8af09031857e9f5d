//! The guard on a connection to SQLite.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::installation;
use crate::outbox::baseline::Baseline;
use crate::outbox::connection::GuardConnection;
use crate::outbox::connection::sealed::Connection;
use crate::outbox::dialect::Dialect;
use crate::outbox::event::Row;
use crate::outbox::guard::Guard;
use crate::outbox::installation::InstallError;
use crate::outbox::key::Key;

impl GuardConnection for SqliteConnection {}

impl Connection for SqliteConnection {
    const DIALECT: Dialect = Dialect::Sqlite;

    async fn step(&mut self, sql: String, key: &Key) -> sqlx::Result<Option<i64>> {
        let query = sqlx::query_scalar(AssertSqlSafe(sql));
        let query = match key {
            Key::BigInt(id) => query.bind(*id),
            text => query.bind(text.to_string()),
        };
        query.fetch_optional(self).await
    }

    async fn insert(&mut self, sql: String, row: Row<'_>) -> sqlx::Result<()> {
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
