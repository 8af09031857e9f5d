//! The connections that the guard works on: one small seam, sealed, with an implementation for each database.

use std::future::Future;

use sqlx::AssertSqlSafe;

use super::baseline::Baseline;
use super::dialect::Dialect;
use super::event::Row;
use super::guard::Guard;
use super::installation::{self, InstallError};
use super::key::Key;

/// A connection, or the `&mut *tx` of a transaction, of a database that the guard speaks to: `PgConnection` and
/// `SqliteConnection`. Sealed: nobody else implements it.
pub trait GuardConnection: sealed::Connection {}

pub(super) mod sealed {
    use super::{Baseline, Dialect, Future, Guard, InstallError, Key, Row};

    /// What the guard asks of a connection.
    pub trait Connection: Send {
        const DIALECT: Dialect;

        /// Runs a statement that answers one integer, or no row.
        fn step(&mut self, sql: String, key: &Key) -> impl Future<Output = sqlx::Result<Option<i64>>> + Send;

        /// Runs the statement that inserts an event.
        fn insert(&mut self, sql: String, row: Row<'_>) -> impl Future<Output = sqlx::Result<()>> + Send;

        /// Installs the guard in a transaction of its own.
        fn install(&mut self, guard: &Guard) -> impl Future<Output = Result<(), InstallError>> + Send;

        /// Brings rows that exist under the guard, and answers how many.
        fn adopt(
            &mut self,
            guard: &Guard,
            baseline: &Baseline,
        ) -> impl Future<Output = Result<u64, InstallError>> + Send;
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::PgConnection;

    use super::sealed::Connection;
    use super::{AssertSqlSafe, Baseline, Dialect, Guard, GuardConnection, InstallError, Key, Row, installation};

    impl GuardConnection for PgConnection {}

    impl Connection for PgConnection {
        const DIALECT: Dialect = Dialect::Postgres;

        async fn step(&mut self, sql: String, key: &Key) -> sqlx::Result<Option<i64>> {
            let query = sqlx::query_scalar(AssertSqlSafe(sql));
            let query = match key {
                Key::Uuid(id) => query.bind(*id),
                Key::Text(id) => query.bind(id.as_str()),
                Key::BigInt(id) => query.bind(*id),
            };
            query.fetch_optional(self).await
        }

        async fn insert(&mut self, sql: String, row: Row<'_>) -> sqlx::Result<()> {
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
            installation::postgres::install(self, guard).await
        }

        async fn adopt(&mut self, guard: &Guard, baseline: &Baseline) -> Result<u64, InstallError> {
            installation::postgres::adopt(self, guard, baseline).await
        }
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use sqlx::SqliteConnection;

    use super::sealed::Connection;
    use super::{AssertSqlSafe, Baseline, Dialect, Guard, GuardConnection, InstallError, Key, Row, installation};

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
            installation::sqlite::install(self, guard).await
        }

        async fn adopt(&mut self, guard: &Guard, baseline: &Baseline) -> Result<u64, InstallError> {
            installation::sqlite::adopt(self, guard, baseline).await
        }
    }
}
