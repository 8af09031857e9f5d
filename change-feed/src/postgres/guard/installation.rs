//! Installs the guard on PostgreSQL, and adopts rows while others write them.
//!
//! ```text
//!  one short transaction     batches, each a transaction          while others write      one short transaction
//!  outbox, strict rules,     lock some rows without an event,     validate the key:       the usual rules
//!  key NOT VALID             append a baseline for each           every row has one
//! ```
//! The strict rules assume nothing of a committed row: a step requires the event of its version. Until a row has its
//! baseline it can't step, and its children change under its lock, so that the baseline contains every such change.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::rules::Committed;
use super::script;
use crate::outbox::baseline::Baseline;
use crate::outbox::dialect::{Dialect, identifier};
use crate::outbox::error::InstallError;
use crate::outbox::guard::Guard;
use crate::outbox::rule::Rule;
use crate::outbox::table::qualified;

/// The parts of the guard that exist.
struct Found {
    outbox: bool,
    key: Key,
}

/// The key from a version to its event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Missing,
    NotValidated,
    Valid,
}

pub(crate) async fn install(connection: &mut PgConnection, guard: &Guard) -> Result<(), InstallError> {
    let mut transaction = connection.begin().await?;
    let found = find(&mut transaction, guard).await?;
    if found.key == Key::NotValidated {
        let reason =
            format!("the adoption of {} is not finished; call adopt again, which continues it", guard.table_name());
        return Err(InstallError::Unfit(reason));
    }
    let mut statements = new_outbox(guard, &found);
    statements.push_str(&script::triggers(guard, Committed::HasEvent));
    if found.key == Key::Missing {
        statements.push_str(&script::version_key(guard));
    }
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

pub(crate) async fn adopt(
    connection: &mut PgConnection,
    guard: &Guard,
    baseline: &Baseline,
) -> Result<u64, InstallError> {
    let mut transaction = connection.begin().await?;
    let found = find(&mut transaction, guard).await?;
    if found.key != Key::Valid {
        let mut statements = new_outbox(guard, &found);
        statements.push_str(&script::triggers(guard, Committed::MayBeOlder));
        if found.key == Key::Missing {
            statements.push_str(&script::version_key_not_validated(guard));
        }
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    let mut adopted = 0;
    loop {
        let batch = adopt_batch(connection, guard, baseline).await?;
        if batch == 0 {
            break;
        }
        adopted += batch;
    }
    // The key first: the usual rules rely on it.
    let validate = AssertSqlSafe(script::validate_version_key(guard));
    sqlx::raw_sql(validate).execute(&mut *connection).await?;
    install(connection, guard).await?;
    Ok(adopted)
}

/// Appends a baseline for some rows that have no event at their version. Returns the number of rows.
async fn adopt_batch(connection: &mut PgConnection, guard: &Guard, baseline: &Baseline) -> sqlx::Result<u64> {
    let table = qualified(Dialect::Postgres, guard.schema_name(), guard.table_name());
    let outbox = guard.outbox_table().qualified(Dialect::Postgres);
    let (key, version) = (identifier(guard.key_column()), identifier(guard.version_column()));
    let without_event =
        format!("not exists (select from {outbox} e where e.{key} = a.{key} and e.version = a.{version})");
    let lock = format!(
        "select a.{key}::text from {table} a where {without_event} order by a.{key} limit $1 for no key update"
    );
    let payload = baseline.payload().unwrap_or("row_to_json(a)");
    let keys = guard.kind_of_key().sql(Dialect::Postgres);
    // A statement of its own: its snapshot sees all changes that were made before the rows were locked.
    let append = format!(
        "insert into {outbox} ({key}, version, event_type, payload, baseline)
         select a.{key}, a.{version}, $1, ({payload})::json, true from {table} a
          where a.{key} = any ($2::text[]::{keys}[]) and {without_event} order by a.{key}"
    );
    let mut transaction = connection.begin().await?;
    sqlx::query("set transaction isolation level read committed").execute(&mut *transaction).await?;
    let lock = sqlx::query_scalar::<_, String>(AssertSqlSafe(lock)).bind(baseline.batch());
    let locked = lock.fetch_all(&mut *transaction).await?;
    let append = sqlx::query(AssertSqlSafe(append)).bind(baseline.event_type()).bind(&locked);
    append.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(locked.len() as u64)
}

/// Finds the parts of the guard that exist, under a lock: programs that start at once install one after the other.
async fn find(connection: &mut PgConnection, guard: &Guard) -> Result<Found, InstallError> {
    let outbox = guard.outbox_table().qualified(Dialect::Postgres);
    let table = qualified(Dialect::Postgres, guard.schema_name(), guard.table_name());
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("change-feed outbox {outbox}"))
        .execute(&mut *connection)
        .await?;
    let found = sqlx::query(
        "select to_regclass($1) is not null as outbox, to_regclass($2) is not null as aggregate,
                (select convalidated from pg_constraint where conrelid = to_regclass($2) and conname = $3) as valid",
    )
    .bind(outbox)
    .bind(&table)
    .bind(guard.constraint(Rule::VersionHasEvent))
    .fetch_one(connection)
    .await?;
    if !found.try_get::<bool, _>("aggregate")? {
        return Err(InstallError::Unfit(format!("the table {table} does not exist; create it first")));
    }
    let key = match found.try_get::<Option<bool>, _>("valid")? {
        None => Key::Missing,
        Some(false) => Key::NotValidated,
        Some(true) => Key::Valid,
    };
    Ok(Found { outbox: found.try_get("outbox")?, key })
}

fn new_outbox(guard: &Guard, found: &Found) -> String {
    if found.outbox { String::new() } else { script::outbox(guard) }
}
