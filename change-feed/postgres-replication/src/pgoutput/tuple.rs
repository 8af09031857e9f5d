//! The columns of a row.

use std::fmt;
use std::iter::FusedIterator;

use super::cursor::Cursor;
use super::error::DecodeError;

/// The number of columns comes first, as Int16.
const COUNT_BYTES: usize = 2;

/// The columns of a row, in the order of the relation's columns.
///
/// It borrows the message. It was checked when the message was decoded, so iterating can't fail.
///
/// ```
/// use postgres_replication::pgoutput::{Datum, Message};
///
/// // A row of relation 16385 was inserted: 7, null.
/// let bytes = b"I\0\0\x40\x01N\0\x02t\0\0\0\x017n";
/// let Message::Insert(insert) = Message::decode(bytes)? else { unreachable!() };
/// let columns: Vec<Datum> = insert.new.columns().collect();
/// assert_eq!(columns, [Datum::Text(b"7"), Datum::Null]);
/// # Ok::<(), postgres_replication::pgoutput::DecodeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tuple<'a> {
    count: u16,
    /// TupleData: the count and the columns, and nothing after them.
    bytes: &'a [u8],
}

impl<'a> Tuple<'a> {
    pub(super) fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        const KIND: &str = "the kind of a column (n, u, t or b)";
        let start = cursor.rest();
        let count = cursor.u16("the number of columns (Int16)")?;
        for _ in 0..count {
            match cursor.u8(KIND)? {
                b't' | b'b' => {
                    let size_bytes = cursor.count("the length of a value (Int32, not negative)")?;
                    cursor.bytes(size_bytes, "a value of the stated length")?;
                }
                b'n' | b'u' => {}
                _ => return Err(cursor.unexpected(1, KIND)),
            }
        }
        let size_bytes = start.len() - cursor.rest().len();
        Ok(Self { count, bytes: start.get(..size_bytes).unwrap_or(start) })
    }

    /// The number of columns. It must be the relation's; a difference means that the row belongs to another relation.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether the row has no columns.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The columns, in turn.
    pub fn columns(&self) -> Columns<'a> {
        Columns { left: self.count, bytes: self.bytes.get(COUNT_BYTES..).unwrap_or_default() }
    }

    /// The bytes as they were sent (TupleData: the number of columns, then the columns), a part of the message. With
    /// them a row can be kept for longer than its message without a copy of each value.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> IntoIterator for Tuple<'a> {
    type Item = Datum<'a>;
    type IntoIter = Columns<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.columns()
    }
}

impl fmt::Debug for Tuple<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.columns()).finish()
    }
}

/// The columns of a [`Tuple`], in turn.
#[derive(Clone)]
pub struct Columns<'a> {
    left: u16,
    bytes: &'a [u8],
}

impl<'a> Columns<'a> {
    /// Reads the next column. `None` only at the end, because `Tuple::decode` has checked the rest.
    fn read(&mut self) -> Option<Datum<'a>> {
        let (kind, rest) = self.bytes.split_first()?;
        if *kind == b'n' || *kind == b'u' {
            self.bytes = rest;
            return Some(if *kind == b'n' { Datum::Null } else { Datum::Unchanged });
        }
        let (size_bytes, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*size_bytes) as usize)?;
        self.bytes = rest;
        Some(if *kind == b't' { Datum::Text(value) } else { Datum::Binary(value) })
    }
}

impl<'a> Iterator for Columns<'a> {
    type Item = Datum<'a>;

    fn next(&mut self) -> Option<Datum<'a>> {
        self.left = self.left.checked_sub(1)?;
        self.read()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Columns<'_> {}

impl FusedIterator for Columns<'_> {}

impl fmt::Debug for Columns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// The value of a column, as the log carries it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Datum<'a> {
    /// `n`: SQL's null. In a key ([`OldTuple::Key`](super::OldTuple::Key)), also every column outside of the key.
    Null,
    /// `u`: a large value that was stored out of line (TOAST) and did not change: the log doesn't carry it. With
    /// replica identity full the old row has it.
    Unchanged,
    /// `t`: the type's text form, in the client's encoding.
    Text(&'a [u8]),
    /// `b`: the type's binary form, with the option `binary`.
    Binary(&'a [u8]),
}

impl fmt::Debug for Datum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Unchanged => f.write_str("Unchanged"),
            Self::Text(text) => write!(f, "Text(\"{}\")", text.escape_ascii()),
            Self::Binary(bytes) => write!(f, "Binary(\"{}\")", bytes.escape_ascii()),
        }
    }
}
