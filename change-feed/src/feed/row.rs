//! A row as it was before or after a change.

use bytes::{BufMut as _, Bytes, BytesMut};

const NULL: u8 = b'n';
const UNCHANGED: u8 = b'u';
const TEXT: u8 = b't';
const COUNT_LEN_BYTES: usize = 2;
const LENGTH_LEN_BYTES: usize = 4;

/// A row: a cell for each column of its [`Table`](super::Table).
///
/// The cells are kept as the log gave them, in one piece that may be shared with other rows:
/// a row costs no allocation, and is read cell by cell. The form is [TupleData] of PostgreSQL's
/// logical replication messages.
///
/// ```
/// use change_feed::feed::{Cell, Row};
///
/// let row = Row::from_cells([Cell::Text("7"), Cell::Null])?;
/// assert_eq!(row.cells().collect::<Vec<_>>(), [Cell::Text("7"), Cell::Null]);
/// # Ok::<(), change_feed::feed::InvalidRow>(())
/// ```
///
/// [TupleData]: https://www.postgresql.org/docs/18/protocol-logicalrep-message-formats.html
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Checked when the row was made.
    tuple: Bytes,
}

/// The value of a column in a [`Row`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cell<'a> {
    /// SQL's null.
    Null,
    /// Stored outside of the row and not touched by the change: the log does not carry it.
    Unchanged,
    /// The value's text, as the type's output function writes it.
    Text(&'a str),
}

/// What is no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRow {
    /// The bytes end within a cell, or go on behind the last one.
    #[error("the cells of the row don't end where its bytes do")]
    Length,
    /// A cell is of a kind that this version doesn't know, such as a value in binary form.
    #[error("a cell of the row is of an unknown kind")]
    Kind,
    /// A value is not UTF-8: the connection's encoding is another.
    #[error("a value in the row is not UTF-8")]
    Encoding,
    /// More cells, or a longer one, than the form can hold.
    #[error("the row is too large")]
    TooLarge,
}

impl Row {
    /// The row of a message of the log, without copying it.
    ///
    /// # Errors
    ///
    /// [`InvalidRow`] unless it is TupleData from the first byte to the last, every value of it in text form.
    pub fn from_tuple_data(tuple: Bytes) -> Result<Self, InvalidRow> {
        let mut cells = checked_cells(&tuple)?;
        let count = usize::from(cells.left);
        let mut seen = 0;
        for cell in &mut cells {
            cell?;
            seen += 1;
        }
        if seen != count || !cells.rest.is_empty() {
            return Err(InvalidRow::Length);
        }
        Ok(Self { tuple })
    }

    /// A row of these cells.
    ///
    /// # Errors
    ///
    /// [`InvalidRow::TooLarge`] with more than 65,535 cells or a text of 4 GiB.
    pub fn from_cells<'a>(cells: impl IntoIterator<Item = Cell<'a>>) -> Result<Self, InvalidRow> {
        let mut tuple = BytesMut::zeroed(COUNT_LEN_BYTES);
        let mut count: u16 = 0;
        for cell in cells {
            count = count.checked_add(1).ok_or(InvalidRow::TooLarge)?;
            match cell {
                Cell::Null => tuple.put_u8(NULL),
                Cell::Unchanged => tuple.put_u8(UNCHANGED),
                Cell::Text(text) => {
                    tuple.put_u8(TEXT);
                    tuple.put_u32(u32::try_from(text.len()).map_err(|_| InvalidRow::TooLarge)?);
                    tuple.put_slice(text.as_bytes());
                }
            }
        }
        tuple[..COUNT_LEN_BYTES].copy_from_slice(&count.to_be_bytes());
        Ok(Self { tuple: tuple.freeze() })
    }

    /// The cells, in the order of the table's columns.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        checked_cells(&self.tuple).into_iter().flatten().map_while(Result::ok)
    }

    /// The cell of the column at this place.
    pub fn cell(&self, column: usize) -> Option<Cell<'_>> {
        self.cells().nth(column)
    }

    /// The text of a cell, as a piece of the row that shares its memory; `None` where it has none.
    pub fn text_bytes(&self, column: usize) -> Option<Bytes> {
        match self.cell(column)? {
            Cell::Text(text) => Some(self.tuple.slice_ref(text.as_bytes())),
            Cell::Null | Cell::Unchanged => None,
        }
    }

    /// The memory that its cells take, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.tuple.len()
    }

    /// This row, with the cells that the log did not carry taken from an older image of the same row.
    #[must_use]
    pub fn with_unchanged_of(self, before: &Row) -> Self {
        if !self.cells().any(|cell| cell == Cell::Unchanged) {
            return self;
        }
        let filled = self.cells().zip(before.cells()).map(|(now, before)| match now {
            Cell::Unchanged => before,
            now => now,
        });
        // Not larger than the two rows that it is made of.
        Self::from_cells(filled).unwrap_or(self)
    }
}

fn checked_cells(tuple: &[u8]) -> Result<Cells<'_>, InvalidRow> {
    let (count, rest) = tuple.split_first_chunk::<COUNT_LEN_BYTES>().ok_or(InvalidRow::Length)?;
    Ok(Cells { left: u16::from_be_bytes(*count), rest })
}

struct Cells<'a> {
    left: u16,
    rest: &'a [u8],
}

impl<'a> Cells<'a> {
    fn take(&mut self) -> Result<Cell<'a>, InvalidRow> {
        let (kind, rest) = self.rest.split_first().ok_or(InvalidRow::Length)?;
        self.rest = rest;
        match *kind {
            NULL => Ok(Cell::Null),
            UNCHANGED => Ok(Cell::Unchanged),
            TEXT => {
                let (length, rest) = rest.split_first_chunk::<LENGTH_LEN_BYTES>().ok_or(InvalidRow::Length)?;
                let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| InvalidRow::Length)?;
                let (text, rest) = rest.split_at_checked(length).ok_or(InvalidRow::Length)?;
                self.rest = rest;
                std::str::from_utf8(text).map(Cell::Text).map_err(|_| InvalidRow::Encoding)
            }
            _ => Err(InvalidRow::Kind),
        }
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = Result<Cell<'a>, InvalidRow>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let cell = self.take();
        if cell.is_err() {
            self.left = 0;
        }
        Some(cell)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(cells: &[Cell<'_>]) -> Row {
        Row::from_cells(cells.iter().copied()).expect("a small row")
    }

    #[test]
    fn a_row_gives_back_its_cells_and_shares_its_texts() {
        let cells = [Cell::Text("7"), Cell::Null, Cell::Unchanged, Cell::Text("ä, \"b\"")];
        let row = row(&cells);
        assert_eq!(row.cells().collect::<Vec<_>>(), cells);
        assert_eq!(row.text_bytes(3).as_deref(), Some("ä, \"b\"".as_bytes()));
        assert_eq!((row.text_bytes(1), row.text_bytes(2), row.text_bytes(4)), (None, None, None));
        assert_eq!(Row::from_tuple_data(row.tuple.clone()), Ok(row));
    }

    #[test]
    fn what_the_log_does_not_carry_is_taken_from_the_older_image() {
        let before = row(&[Cell::Text("7"), Cell::Text("long"), Cell::Null]);
        let after = row(&[Cell::Text("8"), Cell::Unchanged, Cell::Text("now")]);
        let filled = row(&[Cell::Text("8"), Cell::Text("long"), Cell::Text("now")]);
        assert_eq!(after.with_unchanged_of(&before), filled);
    }

    #[test]
    fn what_is_no_row_is_refused_by_name() {
        let refusal = |bytes: &'static [u8]| Row::from_tuple_data(Bytes::from_static(bytes)).expect_err("no row");
        assert_eq!(refusal(b""), InvalidRow::Length);
        assert_eq!(refusal(b"\0\x01"), InvalidRow::Length);
        assert_eq!(refusal(b"\0\x01t\0\0\0\x02a"), InvalidRow::Length);
        assert_eq!(refusal(b"\0\x01nn"), InvalidRow::Length);
        assert_eq!(refusal(b"\0\x01b\0\0\0\x01a"), InvalidRow::Kind);
        assert_eq!(refusal(b"\0\x01t\0\0\0\x01\xff"), InvalidRow::Encoding);
        assert_eq!(Row::from_cells(std::iter::repeat_n(Cell::Null, 65_536)), Err(InvalidRow::TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_row_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let bytes = Bytes::from(bytes);
            if let Ok(row) = Row::from_tuple_data(bytes.clone()) {
                prop_assert_eq!(Row::from_cells(row.cells()), Ok(row));
            }
        }
    }
}
