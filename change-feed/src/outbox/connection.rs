//! The connections that the guard works on: one small seam, sealed, with an implementation for each database.

use std::future::Future;

use sqlx::AssertSqlSafe;

use super::dialect::Dialect;
use super::event::Row;
use super::guard::Guard;
use super::key::Key;

/// A connection, or the `&mut *tx` of a transaction, of a database that the guard speaks to: `PgConnection` and
/// `SqliteConnection`. Sealed: nobody else implements it.
pub trait GuardConnection: sealed::Connection {}

pub(super) mod sealed {
    use super::{Dialect, Future, Guard, Key, Row};

    /// Why an installation stopped.
    #[derive(Debug)]
    pub enum InstallError {
        /// The tables or the connection won't do.
        Unfit(String),
        /// The database failed.
        Database(sqlx::Error),
    }

    impl From<sqlx::Error> for InstallError {
        fn from(error: sqlx::Error) -> Self {
            Self::Database(error)
        }
    }

    /// What the guard asks of a connection.
    pub trait Connection: Send {
        const DIALECT: Dialect;

        /// Runs a statement that answers one integer, or no row.
        fn step(&mut self, sql: String, key: &Key) -> impl Future<Output = sqlx::Result<Option<i64>>> + Send;

        /// Runs the statement that inserts an event.
        fn insert(&mut self, sql: String, row: Row<'_>) -> impl Future<Output = sqlx::Result<()>> + Send;

        /// Installs the guard in a transaction of its own.
        fn install(&mut self, guard: &Guard) -> impl Future<Output = Result<(), InstallError>> + Send;
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::{Connection as _, PgConnection, Row as _};

    use super::sealed::{Connection, InstallError};
    use super::{AssertSqlSafe, Dialect, Guard, GuardConnection, Key, Row};
    use crate::outbox::rule::Rule;
    use crate::outbox::table::qualified;

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
            let mut transaction = self.begin().await?;
            // Two programs that start at once install one after the other.
            sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
                .bind(format!("change-feed outbox {}", guard.outbox_table().qualified(Dialect::Postgres)))
                .execute(&mut *transaction)
                .await?;
            let table = qualified(Dialect::Postgres, guard.schema_name(), guard.table_name());
            let found = sqlx::query(
                "select to_regclass($1) is not null as outbox, to_regclass($2) is not null as aggregate,
                        exists (select from pg_constraint where conrelid = to_regclass($2) and conname = $3) as key",
            )
            .bind(guard.outbox_table().qualified(Dialect::Postgres))
            .bind(&table)
            .bind(guard.constraint(Rule::VersionHasEvent))
            .fetch_one(&mut *transaction)
            .await?;
            if !found.try_get::<bool, _>("aggregate")? {
                return Err(InstallError::Unfit(format!("there is no table {table}")));
            }
            let mut script = String::new();
            if !found.try_get::<bool, _>("outbox")? {
                script.push_str(&guard.outbox_sql(Dialect::Postgres));
            }
            script.push_str(&crate::outbox::sql::postgres::rules(guard));
            if !found.try_get::<bool, _>("key")? {
                script.push_str(&crate::outbox::sql::postgres::version_key(guard));
            }
            sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(())
        }
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use sqlx::{Connection as _, SqliteConnection};

    use super::sealed::{Connection, InstallError};
    use super::{AssertSqlSafe, Dialect, Guard, GuardConnection, Key, Row};
    use crate::outbox::sqlite_tables::{has_rows_without_event, keys_found};

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
            let enforced: bool = sqlx::query_scalar("pragma foreign_keys").fetch_one(&mut *self).await?;
            if !enforced {
                return Err(InstallError::Unfit("the connection has PRAGMA foreign_keys = OFF".to_owned()));
            }
            // Immediate: a transaction that reads first and writes later may be refused with BUSY_SNAPSHOT.
            let mut transaction = self.begin_with("BEGIN IMMEDIATE").await?;
            let guard = keys_found(&mut transaction, guard).await?;
            let outbox: bool =
                sqlx::query_scalar("select exists (select 1 from sqlite_schema where type = 'table' and name = $1)")
                    .bind(guard.outbox_name())
                    .fetch_one(&mut *transaction)
                    .await?;
            let mut script = guard.remove_sql(Dialect::Sqlite);
            if !outbox {
                script.push_str(&guard.outbox_sql(Dialect::Sqlite));
            }
            script.push_str(&guard.rules_sql(Dialect::Sqlite));
            sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *transaction).await?;
            if has_rows_without_event(&mut transaction, &guard).await? {
                let reason = format!("{} has rows whose version has no event: adopt it", guard.table_name());
                return Err(InstallError::Unfit(reason));
            }
            transaction.commit().await?;
            Ok(())
        }
    }
}
