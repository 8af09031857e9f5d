//! The shape of a relation when the rows that follow were written.

use super::cursor::Cursor;
use super::error::DecodeError;

/// The schema that pgoutput leaves out (`logicalrep_write_namespace` in proto.c).
const CATALOG: &str = "pg_catalog";
/// The bit of a column's flags (`LOGICALREP_IS_REPLICA_IDENTITY` in proto.c).
const KEY: u8 = 1;
/// Flags, an empty name, a type and its modifier: no column takes fewer bytes.
const COLUMN_MIN_BYTES: usize = 1 + 1 + 4 + 4;

/// A relation and its published columns, as they were when the rows that follow were written.
///
/// Column lists (PostgreSQL 15) and dropped or unpublished generated columns leave columns out, so a column's place
/// here is its place in a [`Tuple`](super::Tuple), and not its number in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its OID, which rows refer to. For a partitioned table that is published by its root (`publish_via_partition_root`),
    /// the root's OID.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What updates and deletes carry of the old row.
    pub replica_identity: ReplicaIdentity,
    /// The columns, in the order of a row.
    pub columns: Vec<Column>,
}

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The OID of its type; for a domain, the domain's own.
    pub type_oid: u32,
    /// The modifier of its type (`atttypmod`: a length, a precision); −1 if it has no modifier.
    pub type_modifier: i32,
    /// Whether it belongs to the replica identity; with [`ReplicaIdentity::Full`] every column does.
    pub is_key: bool,
}

impl Relation {
    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let oid = cursor.u32("the OID of the relation (Int32)")?;
        let schema = schema(cursor)?.to_owned();
        let name = cursor.text("the name of the relation (String)")?.to_owned();
        let replica_identity = ReplicaIdentity::decode(cursor)?;
        let count = cursor.u16("the number of columns (Int16)")?;
        let mut columns = Vec::with_capacity(usize::from(count).min(cursor.rest().len() / COLUMN_MIN_BYTES));
        for _ in 0..count {
            columns.push(Column::decode(cursor)?);
        }
        Ok(Self { oid, schema, name, replica_identity, columns })
    }
}

impl Column {
    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        const FLAGS: &str = "the flags of a column (Int8: 0, or 1 for the key)";
        let flags = cursor.u8(FLAGS)?;
        if flags & !KEY != 0 {
            return Err(cursor.unexpected(1, FLAGS));
        }
        Ok(Self {
            is_key: flags & KEY != 0,
            name: cursor.text("the name of a column (String)")?.to_owned(),
            type_oid: cursor.u32("the OID of a column's type (Int32)")?,
            type_modifier: cursor.i32("the modifier of a column's type (Int32)")?,
        })
    }
}

/// What the log keeps of a row that is updated or deleted (`ALTER TABLE … REPLICA IDENTITY`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplicaIdentity {
    /// `d`: the primary key. Without a primary key, nothing: the server refuses updates and deletes of such a table while it
    /// is published.
    Default,
    /// `n`: nothing. The server refuses updates and deletes of such a table while it is published.
    Nothing,
    /// `f`: the whole row.
    Full,
    /// `i`: the columns of a unique index.
    Index,
}

impl ReplicaIdentity {
    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        const LETTER: &str = "the replica identity (Int8: d, n, f or i)";
        match cursor.u8(LETTER)? {
            b'd' => Ok(Self::Default),
            b'n' => Ok(Self::Nothing),
            b'f' => Ok(Self::Full),
            b'i' => Ok(Self::Index),
            _ => Err(cursor.unexpected(1, LETTER)),
        }
    }
}

/// The name of a type that is not built in; sent before a [`Relation`] that uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type<'a> {
    /// Its OID.
    pub oid: u32,
    /// Its schema.
    pub schema: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Type<'a> {
    pub(super) fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            oid: cursor.u32("the OID of the type (Int32)")?,
            schema: schema(cursor)?,
            name: cursor.text("the name of the type (String)")?,
        })
    }
}

fn schema<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    let schema = cursor.text("the name of the schema (String)")?;
    Ok(if schema.is_empty() { CATALOG } else { schema })
}
