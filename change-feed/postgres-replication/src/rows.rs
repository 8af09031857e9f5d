//! The rows of a plain query, as text.

use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::{DataRowBody, RowDescriptionBody};

use crate::error::ReplicationError;

/// The largest answer: it is held in memory as a whole.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The rows of a plain query, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
    bytes: usize,
}

impl Rows {
    pub(super) fn described(description: &RowDescriptionBody) -> Result<Self, ReplicationError> {
        let columns = description.fields().map(|field| Ok(field.name().to_owned())).collect();
        let columns = columns.map_err(|_| ReplicationError::protocol("the description of the rows is malformed"))?;
        Ok(Self { columns, ..Self::default() })
    }

    pub(super) fn push(&mut self, row: &DataRowBody) -> Result<(), ReplicationError> {
        let malformed = || ReplicationError::protocol("a row of the answer is malformed");
        let buffer = row.buffer();
        self.bytes += buffer.len();
        if self.bytes > ANSWER_BYTES_MAX {
            return Err(ReplicationError::unusable("the answer is larger than 16 MiB; ask for fewer rows"));
        }
        let mut values = Vec::with_capacity(self.columns.len());
        let mut ranges = row.ranges();
        while let Some(range) = ranges.next().map_err(|_| malformed())? {
            let value = range.map(|range| buffer.get(range).ok_or_else(malformed)).transpose()?;
            values.push(value.map(|value| String::from_utf8_lossy(value).into_owned()));
        }
        self.rows.push(values);
        Ok(())
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the answer has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the value of a column in a row, counted from 0; `None` for NULL, and where the row or the column does not exist.
    pub fn get(&self, row: usize, column: &str) -> Option<&str> {
        let column = self.columns.iter().position(|name| name == column)?;
        self.rows.get(row)?.get(column)?.as_deref()
    }

    /// Parses the value of a column in a row.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, row: usize, column: &str) -> Result<T, ReplicationError> {
        let value = self.get(row, column).and_then(|value| value.parse().ok());
        value.ok_or_else(|| ReplicationError::protocol(format!("its answer has no valid {column}")))
    }
}
