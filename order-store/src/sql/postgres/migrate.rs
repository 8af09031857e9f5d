//! The tables on PostgreSQL, and their version.

use change_feed::outbox::Dialect;
use sqlx::{Connection, PgConnection};

use crate::schema::{Migration, SCHEMA_VERSION, migrations};

/// Reads the version of the tables; 0 without tables.
pub(super) async fn schema_version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    // Not to_regclass: it answers from a cache that doesn't learn, within a transaction, what others have committed.
    let there: bool = sqlx::query_scalar(
        "select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                         where n.nspname = 'public' and c.relname = 'order_store_migrations')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !there {
        return Ok(0);
    }
    sqlx::query_scalar("select coalesce(max(version), 0) from public.order_store_migrations")
        .fetch_one(connection)
        .await
}

/// Runs the missing migrations, and returns the version of the tables after them. Two programs that start at once run it one
/// after the other.
pub(super) async fn migrate(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('order_store_migrations', 0))")
        .execute(&mut *transaction)
        .await?;
    let found = schema_version(&mut transaction).await?;
    if found > SCHEMA_VERSION {
        return Ok(found);
    }
    for Migration { version, sql } in migrations(Dialect::Postgres).iter().filter(|script| script.version > found) {
        tracing::info!(target: "order_store", version, "migrating");
        sqlx::raw_sql(*sql).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(SCHEMA_VERSION)
}
