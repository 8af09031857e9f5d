//! A change of a row.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::row::Row;
use super::table::Table;

/// A committed change of a row, or of a whole table.
///
/// A change of the columns that identify a row comes as two: the row with the old key is deleted,
/// and one with the new key is inserted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RowChange {
    /// The table, in the shape that it had then.
    pub table: Arc<Table>,
    /// What was done.
    pub operation: Operation,
    /// The row before the change, as far as the log carries it.
    pub before: Option<BeforeImage>,
    /// The row after the change; `None` of a deletion and of a truncation.
    pub after: Option<Row>,
    /// When the database says that the transaction committed.
    pub committed_at: DateTime<Utc>,
}

/// What was done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// There is a new row.
    Insert,
    /// A row has other values.
    Update,
    /// A row is gone.
    Delete,
    /// All rows of the table are gone.
    Truncate,
}

impl Operation {
    /// The operation's name: `insert`, `update`, `delete` or `truncate`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
        }
    }
}

/// A row before a change, as the table's replica identity has it written to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeforeImage {
    /// The key alone: the other cells are null whatever the row held.
    Key(Row),
    /// The whole row.
    Full(Row),
}

impl BeforeImage {
    /// The row, of which at least the cells of the key are what they were.
    pub fn row(&self) -> &Row {
        match self {
            Self::Key(row) | Self::Full(row) => row,
        }
    }
}

impl RowChange {
    /// A new row.
    pub fn insert(table: Arc<Table>, after: Row, committed_at: DateTime<Utc>) -> Self {
        Self { table, operation: Operation::Insert, before: None, after: Some(after), committed_at }
    }

    /// A row with other values and the same key.
    pub fn update(table: Arc<Table>, before: Option<BeforeImage>, after: Row, committed_at: DateTime<Utc>) -> Self {
        Self { table, operation: Operation::Update, before, after: Some(after), committed_at }
    }

    /// A row that is gone.
    pub fn delete(table: Arc<Table>, before: BeforeImage, committed_at: DateTime<Utc>) -> Self {
        Self { table, operation: Operation::Delete, before: Some(before), after: None, committed_at }
    }

    /// A table whose rows are all gone.
    pub fn truncate(table: Arc<Table>, committed_at: DateTime<Utc>) -> Self {
        Self { table, operation: Operation::Truncate, before: None, after: None, committed_at }
    }

    /// The row that tells the key: the one after the change, or else the one before it.
    pub fn keyed_row(&self) -> Option<&Row> {
        self.after.as_ref().or_else(|| self.before.as_ref().map(BeforeImage::row))
    }
}
