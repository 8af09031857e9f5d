//! The captured tables as the catalogue describes them.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::catalog_key::{CatalogColumn, CatalogKey};
use super::selection::TableName;
use crate::postgres::server::Server;
use crate::source::SourceError;

/// What a table writes into the log of a row before it changes: its replica identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// The columns of the primary key.
    PrimaryKey,
    /// The columns of an index that was chosen.
    Index,
    /// All columns.
    Full,
    /// No column.
    Nothing,
}

/// A table as the catalogue describes it.
#[derive(Debug, Clone)]
pub(super) struct CatalogTable {
    pub(super) name: TableName,
    /// Its object id, which stays when it is renamed.
    pub(super) oid: u32,
    /// `r`: ordinary, `p`: partitioned …
    pub(super) kind: String,
    /// `p`: logged.
    pub(super) persistence: String,
    /// Whether it is a partition of another table.
    pub(super) is_partition: bool,
    pub(super) identity: Identity,
    /// The columns that identify a row: those of the replica identity's index; with [`Identity::Full`] those of the primary
    /// key. Sorted. Empty where no index does, since it is deferrable, partial or invalid.
    pub(super) key: Vec<String>,
    /// Whether there is a primary key whose uniqueness may be checked at the end of a transaction alone.
    pub(super) has_deferrable_key: bool,
    /// Generated columns that are stored.
    pub(super) stored_generated: Vec<String>,
    /// Generated columns that are computed when they are read (PostgreSQL 18).
    pub(super) virtual_generated: Vec<String>,
}

/// A captured table, and those whose rows belong to it.
#[derive(Debug, Clone)]
pub(super) struct CapturedTable {
    pub(super) table: CatalogTable,
    /// Its partitions on every level, and the tables that inherit from it.
    pub(super) descendants: Vec<CatalogTable>,
}

/// Reads nothing but the catalogue: functions that open a table, such as `pg_get_replica_identity_index`, wait for any lock
/// on it. The conditions on the index are those of PostgreSQL's `RelationGetIndexList`.
const TABLES: &str = "
with recursive wanted as (
    select distinct c.oid from unnest($1::text[], $2::text[]) as w (schema, name)
    join pg_catalog.pg_namespace n on n.nspname = w.schema
    join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name
),
tree (root, oid) as (
    select oid, oid from wanted
    union
    select tree.root, i.inhrelid from tree join pg_catalog.pg_inherits i on i.inhparent = tree.oid
)
select tree.root::bigint, c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
    c.relispartition, c.relreplident::text,
    array(select a.attname::text from pg_catalog.pg_index i
        join pg_catalog.pg_attribute a on a.attrelid = i.indrelid
            and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1])
        where i.indrelid = c.oid and i.indislive and i.indisvalid and i.indisunique and i.indimmediate
            and i.indpred is null and case c.relreplident when 'i' then i.indisreplident else i.indisprimary end
        order by a.attname),
    exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary and not i.indimmediate),
    array(select a.attname::text from pg_catalog.pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = 's'),
    array(select a.attname::text from pg_catalog.pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated not in ('', 's'))
from tree
join pg_catalog.pg_class c on c.oid = tree.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
order by tree.root, tree.oid <> tree.root, c.oid";

const KEY: &str = "select a.attname::text, a.atttypid::bigint, a.attisdropped, a.attgenerated::text <> '',
        exists (select from pg_index i where i.indrelid = a.attrelid and i.indisprimary
            and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
    from pg_attribute a where a.attrelid = $1::bigint::oid and a.attnum > 0 order by a.attnum";

impl CapturedTable {
    /// Reads those of the tables of these names that there are.
    pub(super) async fn read_all(
        server: &Server,
        connection: &mut PgConnection,
        tables: &[TableName],
    ) -> Result<Vec<Self>, SourceError> {
        let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        let query = sqlx::query(TABLES).bind(schemas).bind(names);
        server
            .answer(async {
                let mut found: Vec<Self> = Vec::new();
                for row in query.fetch_all(connection).await? {
                    let table = CatalogTable::from_row(&row)?;
                    match found.last_mut() {
                        Some(last) if last.table.oid == oid(&row, 0)? => last.descendants.push(table),
                        _ => found.push(Self { table, descendants: Vec::new() }),
                    }
                }
                Ok(found)
            })
            .await
    }

    /// The table and its descendants.
    pub(super) fn family(&self) -> impl Iterator<Item = &CatalogTable> {
        std::iter::once(&self.table).chain(&self.descendants)
    }

    /// Whether a table is the captured one itself, or a partition of it that stores rows.
    pub(super) fn is_part(&self, table: &CatalogTable) -> bool {
        table.oid == self.table.oid || table.is_partition && table.stores_rows()
    }
}

impl CatalogTable {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            oid: oid(row, 1)?,
            name: TableName { schema: row.try_get(2)?, name: row.try_get(3)? },
            kind: row.try_get(4)?,
            persistence: row.try_get(5)?,
            is_partition: row.try_get(6)?,
            identity: match row.try_get::<&str, _>(7)? {
                "d" => Identity::PrimaryKey,
                "i" => Identity::Index,
                "f" => Identity::Full,
                _ => Identity::Nothing,
            },
            key: row.try_get(8)?,
            has_deferrable_key: row.try_get(9)?,
            stored_generated: row.try_get(10)?,
            virtual_generated: row.try_get(11)?,
        })
    }

    /// Whether rows are stored in it, and not in its partitions.
    pub(super) fn stores_rows(&self) -> bool {
        self.kind != "p"
    }
}

impl CatalogKey {
    /// Reads the primary key of the table with this object id.
    pub(super) async fn read(
        server: &Server,
        connection: &mut PgConnection,
        table_oid: u32,
    ) -> Result<Self, SourceError> {
        let query = sqlx::query(KEY).bind(i64::from(table_oid));
        server
            .answer(async {
                let mut key = Self { columns: Vec::new(), dropped: false };
                for row in query.fetch_all(connection).await? {
                    let (dropped, generated): (bool, bool) = (row.try_get(2)?, row.try_get(3)?);
                    key.dropped |= dropped;
                    // The log does not carry generated columns unless they are published by name or option; those are no part
                    // of a key that was accepted.
                    if !dropped && !generated {
                        let column =
                            CatalogColumn { name: row.try_get(0)?, type_oid: oid(&row, 1)?, is_key: row.try_get(4)? };
                        key.columns.push(column);
                    }
                }
                Ok(key)
            })
            .await
    }
}

fn oid(row: &PgRow, column: usize) -> Result<u32, sqlx::Error> {
    let number: i64 = row.try_get(column)?;
    u32::try_from(number).map_err(|error| sqlx::Error::Decode(error.into()))
}
