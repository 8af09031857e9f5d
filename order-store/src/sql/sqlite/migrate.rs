//! The tables on SQLite, and their version.

use change_feed::outbox::Dialect;
use sqlx::{Connection, SqliteConnection};

use crate::schema::{Migration, SCHEMA_VERSION, migrations};

/// Reads the version of the tables; 0 without tables.
pub(super) async fn schema_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let there: bool = sqlx::query_scalar(
        "select exists (select 1 from sqlite_schema where type = 'table' and name = 'order_store_migrations')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !there {
        return Ok(0);
    }
    sqlx::query_scalar("select coalesce(max(version), 0) from order_store_migrations").fetch_one(connection).await
}

/// Runs the missing migrations, and returns the version of the tables after them.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let found = schema_version(&mut transaction).await?;
    if found > SCHEMA_VERSION {
        return Ok(found);
    }
    for Migration { version, sql } in migrations(Dialect::Sqlite).iter().filter(|script| script.version > found) {
        tracing::info!(target: "order_store", version, "migrating");
        sqlx::raw_sql(*sql).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(SCHEMA_VERSION)
}
