//! The tables whose rows the log carries, as it last showed them.

use std::collections::HashMap;
use std::sync::Arc;

use super::capture_fault::CaptureFault;
use super::catalog_key::CatalogKey;
use super::keeping::Keeping;
use super::outbox_rows::OutboxRows;
use super::selection::{Selection, TableName};
use crate::feed::row::{Cell, Row};
use crate::feed::row_change::BeforeImage;
use crate::feed::table::{Column, Table};
use postgres_replication::pgoutput::OldTuple;
use postgres_replication::pgoutput::Tuple;
use postgres_replication::pgoutput::{Relation, ReplicaIdentity};

/// The tables whose rows the log carries, as it last showed them.
#[derive(Debug)]
pub(super) struct Tables {
    selection: Selection,
    /// The captured tables by their object ids: one that was called otherwise when a row was written is the same table.
    known: HashMap<u32, TableName>,
    shown: HashMap<u32, Shown>,
    /// The keys of tables whose replica identity does not tell it, by the tables' object ids.
    keys: HashMap<u32, CatalogKey>,
}

/// A table, by what is done with its rows.
#[derive(Debug)]
pub(super) enum Shown {
    /// Its new rows are events.
    Outbox(OutboxRows),
    /// The changes of its rows are captured.
    Rows(TableRows),
    /// It is published, and not for this feed.
    Ignored,
}

/// What came of showing a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Learned {
    Shape,
    /// The log marks every column of the table with this object id as its key: ask the catalogue, and show it again.
    NeedsKey(u32),
}

impl Tables {
    pub(super) fn new(selection: Selection, known: HashMap<u32, TableName>) -> Self {
        Self { selection, known, shown: HashMap::new(), keys: HashMap::new() }
    }

    /// What the catalogue has as the key of a table.
    pub(super) fn learn_key(&mut self, oid: u32, key: CatalogKey) {
        self.keys.insert(oid, key);
    }

    /// Learns the shape of a table.
    pub(super) fn show(&mut self, relation: Relation) -> Result<Learned, CaptureFault> {
        let relation = &match self.known.get(&relation.oid).cloned() {
            Some(TableName { schema, name }) => Relation { schema, name, ..relation },
            None => relation,
        };
        let Relation { oid, schema, name, .. } = relation;
        let shown = if let Some(outbox) = self.selection.outbox(schema, name) {
            Shown::Outbox(OutboxRows::of(relation, outbox)?)
        } else if self.selection.has_rows_of(schema, name) {
            let key = match relation.replica_identity {
                ReplicaIdentity::Full => match self.keys.remove(oid) {
                    Some(key) => Some(key),
                    None => return Ok(Learned::NeedsKey(*oid)),
                },
                _ => None,
            };
            Shown::Rows(TableRows::of(relation, key.as_ref())?)
        } else {
            Shown::Ignored
        };
        self.shown.insert(*oid, shown);
        Ok(Learned::Shape)
    }

    pub(super) fn get(&mut self, oid: u32) -> Result<&mut Shown, CaptureFault> {
        self.shown.get_mut(&oid).ok_or(CaptureFault::Order("a row of a table that it has not described"))
    }
}

/// A captured table in one shape.
#[derive(Debug, Clone)]
pub(super) struct TableRows {
    pub(super) table: Arc<Table>,
    /// The place after the last column of the key.
    key_end: usize,
}

impl TableRows {
    /// `key` is the catalogue's where the log marks all columns.
    fn of(relation: &Relation, key: Option<&CatalogKey>) -> Result<Self, CaptureFault> {
        let marked = || relation.columns.iter().enumerate().filter(|(_, column)| column.is_key).map(|(place, _)| place);
        let places = match key {
            Some(key) => key.places_in(relation).unwrap_or_default(),
            None => marked().collect(),
        };
        let columns = relation.columns.iter().enumerate().map(|(place, column)| match places.contains(&place) {
            true => Column::key(column.name.as_str(), column.type_oid),
            false => Column::new(column.name.as_str(), column.type_oid),
        });
        let table = Table::new(&relation.schema, &relation.name, columns);
        if places.is_empty() {
            return Err(CaptureFault::NoKey { table: table.qualified_name().to_owned() });
        }
        let key_end = places.iter().max().map_or(0, |last| last + 1);
        Ok(Self { table: Arc::new(table), key_end })
    }

    fn row(&self, tuple: Tuple<'_>, keeping: &mut Keeping<'_>) -> Result<Row, CaptureFault> {
        if tuple.len() != self.table.columns().len() {
            return Err(CaptureFault::Order("a row that has not the columns of its table"));
        }
        let fault = |source| CaptureFault::Row { table: self.table.qualified_name().to_owned(), source };
        Row::from_tuple_data(keeping.keep(tuple.as_bytes())).map_err(fault)
    }

    /// The row before a change, as far as the log has it.
    pub(super) fn before(&self, old: OldTuple<'_>, keeping: &mut Keeping<'_>) -> Result<BeforeImage, CaptureFault> {
        let before = match old {
            OldTuple::Key(tuple) => BeforeImage::Key(self.row(tuple, keeping)?),
            OldTuple::Row(tuple) => BeforeImage::Full(self.row(tuple, keeping)?),
        };
        self.check_key(before.row())?;
        Ok(before)
    }

    /// A new row.
    pub(super) fn inserted(&self, tuple: Tuple<'_>, keeping: &mut Keeping<'_>) -> Result<Row, CaptureFault> {
        let row = self.row(tuple, keeping)?;
        self.check_key(&row)?;
        Ok(row)
    }

    /// A row without its whole key would be taken for another one.
    fn check_key(&self, row: &Row) -> Result<(), CaptureFault> {
        let mut cells = self.table.columns().iter().zip(row.cells()).take(self.key_end);
        match cells.find(|(column, cell)| column.is_key && !matches!(cell, Cell::Text(_))) {
            Some((column, _)) => Err(CaptureFault::KeyIncomplete {
                table: self.table.qualified_name().to_owned(),
                column: column.name.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// The row after an update, with what did not change and the log carries only of the row before.
    pub(super) fn after(
        &self,
        new: Tuple<'_>,
        before: Option<&BeforeImage>,
        keeping: &mut Keeping<'_>,
    ) -> Result<Row, CaptureFault> {
        let after = self.row(new, keeping)?;
        let Some(before) = before.filter(|_| after.cells().any(|cell| cell == Cell::Unchanged)) else {
            self.check_key(&after)?;
            return Ok(after);
        };
        let whole = matches!(before, BeforeImage::Full(_));
        let columns = self.table.columns().iter().zip(after.cells().zip(before.row().cells()));
        let filled = columns.map(|(column, (now, before))| match now {
            Cell::Unchanged if whole || column.is_key => before,
            now => now,
        });
        let fault = |source| CaptureFault::Row { table: self.table.qualified_name().to_owned(), source };
        let after = Row::from_cells(filled).map_err(fault)?;
        self.check_key(&after)?;
        Ok(after)
    }

    /// Whether the two rows have another key. A value that did not change is the same.
    pub(super) fn key_differs(&self, before: &Row, after: &Row) -> bool {
        let cells = self.table.columns().iter().zip(before.cells().zip(after.cells()));
        cells
            .filter(|(column, _)| column.is_key)
            .any(|(_, (before, after))| before != after && before != Cell::Unchanged && after != Cell::Unchanged)
    }
}
