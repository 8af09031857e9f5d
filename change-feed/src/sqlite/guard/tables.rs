//! The keys, columns and rows of SQLite tables that exist.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use crate::outbox::dialect::{Dialect, identifier};
use crate::outbox::guard::Guard;

/// Adds to a guard the keys of its children tables that the database has.
pub(super) async fn keys_found(connection: &mut SqliteConnection, guard: &Guard) -> sqlx::Result<Guard> {
    let mut found = guard.clone();
    for children in found.children_tables_mut() {
        for key in own_keys(connection, &children.table).await? {
            let holds_aggregate = key.iter().any(|column| column.eq_ignore_ascii_case(&children.key));
            if !holds_aggregate && !children.own_keys.contains(&key) {
                children.own_keys.push(key);
            }
        }
    }
    Ok(found)
}

/// Reads every unique key of a table: its indexes, and the rowid if it has one.
async fn own_keys(connection: &mut SqliteConnection, table: &str) -> sqlx::Result<Vec<Vec<String>>> {
    let mut keys = Vec::new();
    let without_rowid: Option<bool> =
        sqlx::query_scalar("select wr from pragma_table_list where schema = 'main' and name = $1")
            .bind(table)
            .fetch_optional(&mut *connection)
            .await?;
    if without_rowid == Some(false) {
        keys.push(vec!["rowid".to_owned()]);
    }
    let columns = sqlx::query(
        "select l.name as key, i.name as part from pragma_index_list($1) l, pragma_index_info(l.name) i
          where l.\"unique\" order by l.seq, i.seqno",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    let mut index = None;
    for row in columns {
        let name: String = row.try_get("key")?;
        // An indexed expression has no name to compare by: the other columns of the key are compared alone.
        let Some(column) = row.try_get::<Option<String>, _>("part")? else { continue };
        if index.as_ref() == Some(&name) {
            if let Some(key) = keys.last_mut() {
                key.push(column);
            }
        } else {
            keys.push(vec![column]);
            index = Some(name);
        }
    }
    Ok(keys)
}

/// Reads the names of a table's columns.
pub(super) async fn columns(connection: &mut SqliteConnection, table: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("select name from pragma_table_info($1) order by cid").bind(table).fetch_all(connection).await
}

/// Whether the aggregate's table has rows, older than the guard, whose present version has no event.
pub(super) async fn has_rows_without_event(connection: &mut SqliteConnection, guard: &Guard) -> sqlx::Result<bool> {
    let (table, outbox) = (identifier(guard.table_name()), guard.outbox_table().qualified(Dialect::Sqlite));
    let (key, version) = (identifier(guard.key_column()), identifier(guard.version_column()));
    let sql = format!(
        "select exists (select 1 from {table} a where not exists
            (select 1 from {outbox} e where e.{key} = a.{key} and e.version = a.{version}))"
    );
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await
}
