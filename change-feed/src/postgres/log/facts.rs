//! What the server says of itself, of the feed's tables and publication, and of its slot.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::captures::TableName;
use super::catalog_key::{CatalogColumn, CatalogKey};
use crate::postgres::server::Server;
use crate::source::SourceError;
use postgres_replication::Lsn;

/// What the server says of itself.
#[derive(Debug, Clone)]
pub(super) struct ServerFacts {
    /// `server_version_num`: 180001 is 18.1.
    pub(super) version: i32,
    pub(super) system: String,
    pub(super) database: String,
    pub(super) database_oid: String,
    pub(super) role: String,
    pub(super) in_recovery: bool,
    pub(super) wal_level: String,
    pub(super) may_replicate: bool,
    pub(super) timeline: u32,
    /// Everything before this place is on the disk.
    pub(super) flushed: Lsn,
    pub(super) next_transaction: u64,
}

/// Managed services give the right to replicate by membership in a role of theirs.
const SERVER: &str = "select current_setting('server_version_num')::int, pg_is_in_recovery(),
    (select system_identifier::text from pg_control_system()),
    current_database()::text, (select oid::text from pg_database where datname = current_database()), current_user::text,
    current_setting('wal_level'),
    (select rolreplication or rolsuper from pg_roles where rolname = current_user)
        or exists (select from pg_roles where rolname = 'rds_replication' and pg_has_role(current_user, oid, 'member')),
    case when pg_is_in_recovery() then null else pg_walfile_name(pg_current_wal_lsn()) end,
    case when pg_is_in_recovery() then null else pg_current_wal_flush_lsn()::text end,
    pg_snapshot_xmax(pg_current_snapshot())::text";

impl ServerFacts {
    pub(super) async fn ask(server: &Server, connection: &mut PgConnection) -> Result<Self, SourceError> {
        server
            .answer(async {
                let row = sqlx::query(SERVER).fetch_one(connection).await?;
                let log_file: Option<&str> = row.try_get(8)?;
                let timeline = log_file.and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok());
                Ok(Self {
                    version: row.try_get(0)?,
                    in_recovery: row.try_get(1)?,
                    system: row.try_get(2)?,
                    database: row.try_get(3)?,
                    database_oid: row.try_get(4)?,
                    role: row.try_get(5)?,
                    wal_level: row.try_get(6)?,
                    may_replicate: row.try_get::<Option<bool>, _>(7)?.unwrap_or_default(),
                    timeline: timeline.unwrap_or_default(),
                    flushed: lsn(&row, 9)?.unwrap_or_default(),
                    next_transaction: parsed(&row, 10)?.unwrap_or_default(),
                })
            })
            .await
    }
}

/// A table as the catalogue has it.
#[derive(Debug, Clone)]
pub(super) struct TableFacts {
    pub(super) name: TableName,
    /// Its object id, which stays when it is renamed.
    pub(super) oid: u32,
    /// `r`: ordinary, `p`: partitioned …
    pub(super) kind: String,
    /// `p`: logged.
    pub(super) persistence: String,
    /// `d`: the primary key, `i`: an index, `f`: the whole row, `n`: nothing.
    pub(super) replica_identity: String,
    /// The columns of the index that tells rows apart: the replica identity's, or the primary key's.
    pub(super) key: Vec<String>,
}

const TABLES: &str =
    "select n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, c.relreplident::text,
    array(select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid
            and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1])
        where i.indrelid = c.oid and case c.relreplident when 'i' then i.indisreplident else i.indisprimary end),
    c.oid::bigint
    from unnest($1::text[], $2::text[]) as wanted (schema, name)
    join pg_namespace n on n.nspname = wanted.schema
    join pg_class c on c.relnamespace = n.oid and c.relname = wanted.name";

const KEY: &str = "select a.attname::text, a.atttypid::bigint, a.attisdropped, a.attgenerated::text <> '',
        exists (select from pg_index i where i.indrelid = a.attrelid and i.indisprimary
            and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
    from pg_attribute a where a.attrelid = $1::bigint::oid and a.attnum > 0 order by a.attnum";

impl TableFacts {
    /// The tables of these names that there are.
    pub(super) async fn ask(
        server: &Server,
        connection: &mut PgConnection,
        tables: &[TableName],
    ) -> Result<Vec<Self>, SourceError> {
        let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        let ask = sqlx::query(TABLES).bind(schemas).bind(names);
        let read = |row: PgRow| {
            let name = TableName { schema: row.try_get(0)?, name: row.try_get(1)? };
            let oid: i64 = row.try_get(6)?;
            Ok(Self {
                name,
                oid: u32::try_from(oid).unwrap_or_default(),
                kind: row.try_get(2)?,
                persistence: row.try_get(3)?,
                replica_identity: row.try_get(4)?,
                key: row.try_get(5)?,
            })
        };
        server.answer(async { ask.fetch_all(connection).await?.into_iter().map(read).collect() }).await
    }

    /// The primary key of the table with this object id.
    pub(super) async fn key(
        server: &Server,
        connection: &mut PgConnection,
        oid: u32,
    ) -> Result<CatalogKey, SourceError> {
        let ask = sqlx::query(KEY).bind(i64::from(oid));
        server
            .answer(async {
                let mut key = CatalogKey { columns: Vec::new(), dropped: false };
                for row in ask.fetch_all(connection).await? {
                    let (type_oid, dropped, generated): (i64, bool, bool) =
                        (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
                    key.dropped |= dropped;
                    // The log does not carry what is generated.
                    if !dropped && !generated {
                        let type_oid = u32::try_from(type_oid).unwrap_or_default();
                        let column = CatalogColumn { name: row.try_get(0)?, type_oid, is_key: row.try_get(4)? };
                        key.columns.push(column);
                    }
                }
                Ok(key)
            })
            .await
    }
}

/// A publication.
#[derive(Debug, Clone)]
pub(super) struct PublicationFacts {
    /// Its object id, which another one of the same name does not have.
    pub(super) oid: u32,
    pub(super) inserts: bool,
    pub(super) updates: bool,
    pub(super) deletes: bool,
    pub(super) comment: Option<String>,
    pub(super) tables: Vec<PublishedTable>,
}

/// A table of a publication.
#[derive(Debug, Clone)]
pub(super) struct PublishedTable {
    pub(super) name: TableName,
    /// The columns that are published; `None` where the server publishes all of them, always.
    pub(super) columns: Option<Vec<String>>,
    pub(super) has_row_filter: bool,
}

const PUBLICATION: &str = "select pubinsert, pubupdate, pubdelete, obj_description(oid, 'pg_publication'),
    oid::bigint
    from pg_publication where pubname = $1";

impl PublicationFacts {
    pub(super) async fn ask(
        server: &Server,
        connection: &mut PgConnection,
        version: i32,
        name: &str,
    ) -> Result<Option<Self>, SourceError> {
        // Column lists and row filters came with PostgreSQL 15.
        let narrowed =
            if version >= 150_000 { "attnames::text[], rowfilter is not null" } else { "null::text[], false" };
        let tables = format!(
            "select schemaname::text, tablename::text, {narrowed} from pg_publication_tables where pubname = $1"
        );
        server
            .answer(async {
                let Some(row) = sqlx::query(PUBLICATION).bind(name).fetch_optional(&mut *connection).await? else {
                    return Ok(None);
                };
                let rows = sqlx::query(AssertSqlSafe(tables)).bind(name).fetch_all(connection).await?;
                let read = |row: PgRow| {
                    let name = TableName { schema: row.try_get(0)?, name: row.try_get(1)? };
                    Ok(PublishedTable { name, columns: row.try_get(2)?, has_row_filter: row.try_get(3)? })
                };
                let oid: i64 = row.try_get(4)?;
                Ok(Some(Self {
                    oid: u32::try_from(oid).unwrap_or_default(),
                    inserts: row.try_get(0)?,
                    updates: row.try_get(1)?,
                    deletes: row.try_get(2)?,
                    comment: row.try_get(3)?,
                    tables: rows.into_iter().map(read).collect::<Result<_, sqlx::Error>>()?,
                }))
            })
            .await
    }
}

/// A replication slot.
#[derive(Debug, Clone)]
pub(super) struct SlotFacts {
    /// `None` of a slot for physical replication.
    pub(super) plugin: Option<String>,
    pub(super) database: Option<String>,
    /// The server's process that reads it.
    pub(super) active_pid: Option<i32>,
    /// What that process calls itself.
    pub(super) active_name: Option<String>,
    pub(super) confirmed: Option<Lsn>,
    pub(super) wal_status: Option<String>,
    /// Why the server gave it up, where it tells.
    pub(super) invalidated: Option<String>,
}

impl SlotFacts {
    pub(super) async fn ask(
        server: &Server,
        connection: &mut PgConnection,
        version: i32,
        name: &str,
    ) -> Result<Option<Self>, SourceError> {
        let invalidated = match version {
            170_000.. => "s.invalidation_reason::text",
            160_000.. => "case when s.conflicting then 'a conflict with recovery' end",
            _ => "null::text",
        };
        let asked = format!(
            "select s.plugin::text, s.database::text, s.active_pid, a.application_name, s.confirmed_flush_lsn::text,
                s.wal_status, {invalidated}
            from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid where s.slot_name = $1"
        );
        let ask = sqlx::query(AssertSqlSafe(asked)).bind(name);
        let read = |row: PgRow| {
            Ok(Self {
                plugin: row.try_get(0)?,
                database: row.try_get(1)?,
                active_pid: row.try_get(2)?,
                active_name: row.try_get(3)?,
                confirmed: lsn(&row, 4)?,
                wal_status: row.try_get(5)?,
                invalidated: row.try_get(6)?,
            })
        };
        server.answer(async { ask.fetch_optional(connection).await?.map(read).transpose() }).await
    }
}

fn lsn(row: &PgRow, column: usize) -> Result<Option<Lsn>, sqlx::Error> {
    parsed(row, column)
}

fn parsed<T>(row: &PgRow, column: usize) -> Result<Option<T>, sqlx::Error>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: Option<&str> = row.try_get(column)?;
    text.map(str::parse).transpose().map_err(|error: T::Err| sqlx::Error::Decode(error.into()))
}
