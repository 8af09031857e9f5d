//! Changes of rows.

use std::fmt;
use std::iter::FusedIterator;

use super::cursor::Cursor;
use super::error::DecodeError;
use super::tuple::Tuple;

/// A row was inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insert<'a> {
    /// The OID of the relation.
    pub relation_oid: u32,
    /// The row.
    pub new: Tuple<'a>,
}

impl<'a> Insert<'a> {
    pub(super) fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        const TAG: &str = "the tag of the new row (N)";
        let relation_oid = relation_oid(cursor)?;
        match cursor.u8(TAG)? {
            b'N' => Ok(Self { relation_oid, new: Tuple::decode(cursor)? }),
            _ => Err(cursor.unexpected(1, TAG)),
        }
    }
}

/// A row was updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update<'a> {
    /// The OID of the relation.
    pub relation_oid: u32,
    /// The row before: its key if the update changed a column of the replica identity (or if such a column is stored
    /// out of line), the whole row with replica identity full, and else `None`: the key is the new row's.
    pub old: Option<OldTuple<'a>>,
    /// The row after.
    pub new: Tuple<'a>,
}

impl<'a> Update<'a> {
    pub(super) fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        const TAG: &str = "the tag of the old row or of the new one (K, O or N)";
        const NEW: &str = "the tag of the new row (N)";
        let relation_oid = relation_oid(cursor)?;
        let old = match cursor.u8(TAG)? {
            b'N' => return Ok(Self { relation_oid, old: None, new: Tuple::decode(cursor)? }),
            b'K' => OldTuple::Key(Tuple::decode(cursor)?),
            b'O' => OldTuple::Row(Tuple::decode(cursor)?),
            _ => return Err(cursor.unexpected(1, TAG)),
        };
        match cursor.u8(NEW)? {
            b'N' => Ok(Self { relation_oid, old: Some(old), new: Tuple::decode(cursor)? }),
            _ => Err(cursor.unexpected(1, NEW)),
        }
    }
}

/// A row was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delete<'a> {
    /// The OID of the relation.
    pub relation_oid: u32,
    /// The row before.
    pub old: OldTuple<'a>,
}

impl<'a> Delete<'a> {
    pub(super) fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        const TAG: &str = "the tag of the old row (K or O)";
        let relation_oid = relation_oid(cursor)?;
        let old = match cursor.u8(TAG)? {
            b'K' => OldTuple::Key(Tuple::decode(cursor)?),
            b'O' => OldTuple::Row(Tuple::decode(cursor)?),
            _ => return Err(cursor.unexpected(1, TAG)),
        };
        Ok(Self { relation_oid, old })
    }
}

/// The part of the old row that the log carries for an update or a delete. It has as many columns as the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldTuple<'a> {
    /// `K`: the columns of the replica identity; the other columns are null here, whatever their values were.
    Key(Tuple<'a>),
    /// `O`: every column (replica identity full).
    Row(Tuple<'a>),
}

impl<'a> OldTuple<'a> {
    /// Returns the columns.
    pub const fn tuple(&self) -> Tuple<'a> {
        match self {
            Self::Key(tuple) | Self::Row(tuple) => *tuple,
        }
    }
}

/// Relations were truncated by one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncate<'a> {
    /// The published relations among them, also those that `CASCADE` added.
    pub relations: RelationOids<'a>,
    /// Whether the statement had `CASCADE`.
    pub cascade: bool,
    /// Whether the statement had `RESTART IDENTITY`.
    pub restart_identity: bool,
}

/// The bits of the options (`TRUNCATE_CASCADE` and `TRUNCATE_RESTART_SEQS` in proto.c).
const CASCADE: u8 = 1;
const RESTART_IDENTITY: u8 = 2;

impl<'a> Truncate<'a> {
    pub(super) fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        const OPTIONS: &str = "the options (Int8: 1 for CASCADE, 2 for RESTART IDENTITY)";
        const OIDS: &str = "the OIDs of the relations (Int32 each)";
        let count = cursor.count("the number of relations (Int32, not negative)")?;
        let options = cursor.u8(OPTIONS)?;
        if options & !(CASCADE | RESTART_IDENTITY) != 0 {
            return Err(cursor.unexpected(1, OPTIONS));
        }
        let bytes = cursor.bytes(count.saturating_mul(4), OIDS)?;
        Ok(Self {
            relations: RelationOids { bytes: bytes.as_chunks().0 },
            cascade: options & CASCADE != 0,
            restart_identity: options & RESTART_IDENTITY != 0,
        })
    }
}

/// The OIDs of relations, in turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RelationOids<'a> {
    bytes: &'a [[u8; 4]],
}

impl Iterator for RelationOids<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (oid, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(u32::from_be_bytes(*oid))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.bytes.len(), Some(self.bytes.len()))
    }
}

impl ExactSizeIterator for RelationOids<'_> {}

impl FusedIterator for RelationOids<'_> {}

impl fmt::Debug for RelationOids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

fn relation_oid(cursor: &mut Cursor<'_>) -> Result<u32, DecodeError> {
    cursor.u32("the OID of the relation (Int32)")
}
