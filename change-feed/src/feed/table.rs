//! The shape of a table at the time of a change.

use std::fmt;
use std::sync::Arc;

/// A table as it was when a row of it changed: an altered table is another one.
///
/// ```
/// use change_feed::feed::{Column, Table};
///
/// let table = Table::new("public", "customers", [Column::key("id", 20), Column::new("name", 25)]);
/// assert_eq!(table.qualified_name(), "public.customers");
/// assert_eq!(table.key_columns().map(|(index, _)| index).collect::<Vec<_>>(), [0]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    qualified_name: Arc<str>,
    schema_len_bytes: usize,
    columns: Box<[Column]>,
}

/// A column of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Column {
    /// The column's name, as it is: not quoted.
    pub name: Arc<str>,
    /// PostgreSQL's object id of the column's type; 25 (`text`) where a source has no better one.
    pub type_oid: u32,
    /// Whether it is one of the columns that identify a row.
    pub is_key: bool,
}

impl Column {
    /// A column that does not identify a row.
    pub fn new(name: impl Into<Arc<str>>, type_oid: u32) -> Self {
        Self { name: name.into(), type_oid, is_key: false }
    }

    /// One of the columns that identify a row.
    pub fn key(name: impl Into<Arc<str>>, type_oid: u32) -> Self {
        Self { is_key: true, ..Self::new(name, type_oid) }
    }
}

impl Table {
    /// A table of this schema with these columns, in the table's order.
    pub fn new(schema: &str, name: &str, columns: impl IntoIterator<Item = Column>) -> Self {
        Self {
            qualified_name: Arc::from(format!("{schema}.{name}")),
            schema_len_bytes: schema.len(),
            columns: columns.into_iter().collect(),
        }
    }

    /// The schema.
    pub fn schema(&self) -> &str {
        &self.qualified_name[..self.schema_len_bytes]
    }

    /// The table's own name.
    pub fn name(&self) -> &str {
        &self.qualified_name[self.schema_len_bytes + 1..]
    }

    /// `schema.table`, as they are: not quoted.
    pub fn qualified_name(&self) -> &str {
        &self.qualified_name
    }

    /// The columns, in the table's order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns that identify a row, each with its place among all columns.
    pub fn key_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| column.is_key)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.qualified_name)
    }
}
