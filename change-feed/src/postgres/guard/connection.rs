//! The guard on a connection to PostgreSQL.

use sqlx::{AssertSqlSafe, PgConnection};

use super::installation;
use crate::outbox::baseline::Baseline;
use crate::outbox::connection::GuardConnection;
use crate::outbox::connection::sealed::Connection;
use crate::outbox::dialect::Dialect;
use crate::outbox::error::InstallError;
use crate::outbox::event::EventRow;
use crate::outbox::guard::Guard;
use crate::outbox::key::Key;

impl GuardConnection for PgConnection {}

impl Connection for PgConnection {
    const DIALECT: Dialect = Dialect::Postgres;
    // Bound as text: as jsonb it would be rewritten on its way into the json column.
    const PAYLOAD: &str = "$5::json";
    const NOW: &str = "clock_timestamp()";

    async fn fetch_version(&mut self, sql: String, key: &Key) -> sqlx::Result<Option<i64>> {
        let query = sqlx::query_scalar(AssertSqlSafe(sql));
        let query = match key {
            Key::Uuid(id) => query.bind(*id),
            Key::Text(id) => query.bind(id.as_str()),
            Key::BigInt(id) => query.bind(*id),
        };
        query.fetch_optional(self).await
    }

    async fn insert_event(&mut self, sql: String, row: EventRow<'_>) -> sqlx::Result<()> {
        let query = sqlx::query(AssertSqlSafe(sql));
        let query = match row.key {
            Key::Uuid(id) => query.bind(*id),
            Key::Text(id) => query.bind(id.as_str()),
            Key::BigInt(id) => query.bind(*id),
        };
        let query = query.bind(row.id).bind(row.version).bind(row.event_type).bind(row.payload);
        query.bind(row.occurred_at).bind(row.traceparent).execute(self).await?;
        Ok(())
    }

    async fn install(&mut self, guard: &Guard) -> Result<(), InstallError> {
        installation::install(self, guard).await
    }

    async fn adopt(&mut self, guard: &Guard, baseline: &Baseline) -> Result<u64, InstallError> {
        installation::adopt(self, guard, baseline).await
    }
}
