//! Installs the guard on SQLite and adopts rows, in one transaction: SQLite has one writer at a time.

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::script;
use super::tables::{columns, has_rows_without_event, keys_found};
use crate::outbox::baseline::Baseline;
use crate::outbox::dialect::{Dialect, identifier, literal};
use crate::outbox::error::InstallError;
use crate::outbox::guard::Guard;

pub(crate) async fn install(connection: &mut SqliteConnection, guard: &Guard) -> Result<(), InstallError> {
    set_up(connection, guard, None).await.map(|_| ())
}

pub(crate) async fn adopt(
    connection: &mut SqliteConnection,
    guard: &Guard,
    baseline: &Baseline,
) -> Result<u64, InstallError> {
    set_up(connection, guard, Some(baseline)).await
}

async fn set_up(
    connection: &mut SqliteConnection,
    guard: &Guard,
    baseline: Option<&Baseline>,
) -> Result<u64, InstallError> {
    let enforced: bool = sqlx::query_scalar("pragma foreign_keys").fetch_one(&mut *connection).await?;
    if !enforced {
        return Err(InstallError::Unfit(
            "the connection has PRAGMA foreign_keys = OFF; set it to ON, here and in every program that writes"
                .to_owned(),
        ));
    }
    // Immediate: SQLite may refuse a transaction that reads first and writes later with BUSY_SNAPSHOT.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let guard = keys_found(&mut transaction, guard).await?;
    let outbox: bool =
        sqlx::query_scalar("select exists (select 1 from sqlite_schema where type = 'table' and name = $1)")
            .bind(guard.outbox_name())
            .fetch_one(&mut *transaction)
            .await?;
    let mut statements = script::remove(&guard);
    if !outbox {
        statements.push_str(&script::outbox(&guard));
    }
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *transaction).await?;
    let adopted = match baseline {
        Some(baseline) => append_baselines(&mut transaction, &guard, baseline).await?,
        None => 0,
    };
    sqlx::raw_sql(AssertSqlSafe(script::rules(&guard))).execute(&mut *transaction).await?;
    if has_rows_without_event(&mut transaction, &guard).await? {
        let reason = format!(
            "{} has rows whose version has no event; call adopt, which appends one for each",
            guard.table_name()
        );
        return Err(InstallError::Unfit(reason));
    }
    transaction.commit().await?;
    Ok(adopted)
}

/// Appends an event for each row that has no event at its version, before the rules that require a step are installed.
async fn append_baselines(connection: &mut SqliteConnection, guard: &Guard, baseline: &Baseline) -> sqlx::Result<u64> {
    let (table, outbox) = (identifier(guard.table_name()), guard.outbox_table().qualified(Dialect::Sqlite));
    let (key, version) = (identifier(guard.key_column()), identifier(guard.version_column()));
    let payload = match baseline.payload() {
        Some(payload) => payload.to_owned(),
        None => {
            let columns = columns(connection, guard.table_name()).await?;
            let pairs = columns.iter().map(|column| format!("{}, a.{}", literal(column), identifier(column)));
            format!("json_object({})", pairs.collect::<Vec<_>>().join(", "))
        }
    };
    let append = format!(
        "insert into {outbox} ({key}, version, event_type, payload, baseline)
         select a.{key}, a.{version}, $1, {payload}, true from {table} a
          where not exists (select 1 from {outbox} e where e.{key} = a.{key} and e.version = a.{version})
          order by a.{key}"
    );
    let done = sqlx::query(AssertSqlSafe(append)).bind(baseline.event_type()).execute(connection).await?;
    Ok(done.rows_affected())
}
