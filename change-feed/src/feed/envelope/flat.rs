//! A row as one JSON object of its columns, and a tombstone where it was deleted.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::header::{Headers, name};
use crate::feed::row::{Cell, Row};
use crate::feed::row_change::{Operation, RowChange};
use crate::feed::table::{Column, Table};
use crate::postgres::value::json::{write_json, write_json_text};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct FlatRow {
    pub(super) operation: Operation,
    pub(super) committed_at: DateTime<Utc>,
    pub(super) key: Arc<str>,
    /// `None` is a tombstone.
    pub(super) value: Option<Bytes>,
    /// A JSON array of the columns that the value leaves out, if it leaves out any.
    unchanged: Option<Arc<str>>,
    withheld: bool,
}

impl FlatRow {
    pub(super) fn new(change: &RowChange) -> Self {
        let RowChange { table, operation, after, committed_at, .. } = change;
        let key = change.keyed_row().map_or_else(|| Arc::from(""), |row| key_of(table, row));
        let (value, unchanged) = match after {
            Some(row) => {
                let (object, left_out) = object_of(table, row);
                (Some(object), (left_out > 0).then(|| unchanged_columns(table, row)))
            }
            None => (None, None),
        };
        Self { operation: *operation, committed_at: *committed_at, key, value, unchanged, withheld: false }
    }

    pub(super) fn withhold(&mut self) {
        self.value = Some(Bytes::new());
        self.unchanged = None;
        self.withheld = true;
    }

    pub(super) fn size_bytes(&self) -> usize {
        /// Nine headers with their names and values.
        const HEADERS_BYTES: usize = 260;
        let unchanged = self.unchanged.as_ref().map_or(0, |text| text.len());
        self.value.as_ref().map_or(0, Bytes::len) + self.key.len() + unchanged + HEADERS_BYTES
    }

    pub(super) fn write_attributes(&self, headers: &mut Headers<'_>) {
        if self.value.is_some() && !self.withheld {
            headers.write(name::CONTENT_TYPE, "application/json");
        }
        headers.write(name::OPERATION, self.operation.as_str());
        headers.time(name::COMMITTED_AT, self.committed_at);
        if let Some(unchanged) = &self.unchanged {
            headers.write(name::UNCHANGED, unchanged);
        }
    }
}

/// The text of the key's column; of several columns a JSON object.
fn key_of(table: &Table, row: &Row) -> Arc<str> {
    let mut columns = table.key_columns();
    if let (Some((only, _)), None) = (columns.next(), columns.next()) {
        return match row.cell(only) {
            Some(Cell::Text(text)) => Arc::from(text),
            Some(Cell::Null | Cell::Unchanged) | None => Arc::from(""),
        };
    }
    let mut json = Vec::with_capacity(64);
    write_object(cells_of(table, row).filter(|(column, _)| column.is_key), &mut json);
    Arc::from(String::from_utf8_lossy(&json))
}

/// The object, and how many columns it leaves out.
fn object_of(table: &Table, row: &Row) -> (Bytes, usize) {
    let mut json = Vec::with_capacity(row.size_bytes() + 16 * table.columns().len());
    let left_out = write_object(cells_of(table, row), &mut json);
    (Bytes::from(json), left_out)
}

/// A JSON array of the columns that the object leaves out.
fn unchanged_columns(table: &Table, row: &Row) -> Arc<str> {
    let mut json = Vec::new();
    for (column, _) in cells_of(table, row).filter(|(_, cell)| *cell == Cell::Unchanged) {
        json.push(if json.is_empty() { b'[' } else { b',' });
        write_json_text(&column.name, &mut json);
    }
    json.push(b']');
    Arc::from(String::from_utf8_lossy(&json))
}

fn cells_of<'a>(table: &'a Table, row: &'a Row) -> impl Iterator<Item = (&'a Column, Cell<'a>)> {
    table.columns().iter().zip(row.cells())
}

/// Writes the columns that the log carries, and counts those that it doesn't.
fn write_object<'a>(cells: impl Iterator<Item = (&'a Column, Cell<'a>)>, json: &mut Vec<u8>) -> usize {
    let (mut before, mut left_out) = (b'{', 0);
    for (column, cell) in cells {
        if cell == Cell::Unchanged {
            left_out += 1;
            continue;
        }
        json.push(before);
        before = b',';
        write_json_text(&column.name, json);
        json.push(b':');
        match cell {
            Cell::Text(text) => write_json(column.type_oid, text, json),
            Cell::Null | Cell::Unchanged => json.extend_from_slice(b"null"),
        }
    }
    if before == b'{' {
        json.push(b'{');
    }
    json.push(b'}');
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::envelope::Envelope;
    use crate::feed::identity::tests::identity;
    use crate::feed::position::Position;
    use crate::feed::row_change::BeforeImage;

    const BOOL: u32 = 16;
    const INT8: u32 = 20;
    const TEXT: u32 = 25;

    fn orders() -> Arc<Table> {
        let columns = [Column::key("id", INT8), Column::new("paid", BOOL), Column::new("note \"x\"", TEXT)];
        Arc::new(Table::new("public", "orders", columns))
    }

    fn row(cells: &[Cell<'_>]) -> Row {
        Row::from_cells(cells.iter().copied()).expect("a small row")
    }

    fn envelope(change: RowChange) -> Envelope {
        Envelope::flat_row("shop.public.orders".into(), change, Position::new('l', 9, 1), &identity())
    }

    fn value(envelope: &Envelope) -> Option<&str> {
        envelope.value().map(|value| std::str::from_utf8(value).expect("JSON is UTF-8"))
    }

    fn header<'a>(headers: &'a [(&'static str, String)], name: &str) -> Option<&'a str> {
        headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_row_is_an_object_of_its_columns_under_the_text_of_its_key() {
        let after = row(&[Cell::Text("7"), Cell::Text("t"), Cell::Null]);
        let envelope = envelope(RowChange::insert(orders(), after, DateTime::UNIX_EPOCH));
        assert_eq!((envelope.key(), value(&envelope)), ("7", Some(r#"{"id":7,"paid":true,"note \"x\"":null}"#)));
        assert_eq!(envelope.operation(), Some(Operation::Insert));
        let headers = envelope.headers();
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["content-type", "feed_op", "feed_committed_at", "feed", "feed_position", "feed_epoch"]);
    }

    #[test]
    fn a_deleted_row_is_a_tombstone_under_its_key() {
        let before = BeforeImage::Key(row(&[Cell::Text("7"), Cell::Null, Cell::Null]));
        let envelope = envelope(RowChange::delete(orders(), before, DateTime::UNIX_EPOCH));
        assert_eq!((envelope.key(), envelope.value(), envelope.data()), ("7", None, &b""[..]));
        let headers = envelope.headers();
        assert_eq!((header(&headers, "feed_op"), header(&headers, "content-type")), (Some("delete"), None));
    }

    #[test]
    fn a_value_that_the_log_does_not_carry_is_left_out_and_named() {
        let after = row(&[Cell::Text("7"), Cell::Text("f"), Cell::Unchanged]);
        let envelope = envelope(RowChange::update(orders(), None, after, DateTime::UNIX_EPOCH));
        assert_eq!(value(&envelope), Some(r#"{"id":7,"paid":false}"#));
        assert_eq!(header(&envelope.headers(), "feed_unchanged"), Some(r#"["note \"x\""]"#));
    }

    #[test]
    fn a_key_of_several_columns_is_an_object_of_them() {
        let columns = [Column::key("order", INT8), Column::new("n", INT8), Column::key("sku", TEXT)];
        let table = Arc::new(Table::new("public", "lines", columns));
        let after = row(&[Cell::Text("7"), Cell::Text("2"), Cell::Text("milk")]);
        let envelope = envelope(RowChange::insert(table, after, DateTime::UNIX_EPOCH));
        assert_eq!(envelope.key(), r#"{"order":7,"sku":"milk"}"#);
    }

    #[test]
    fn a_truncation_is_a_tombstone_of_no_key() {
        let envelope = envelope(RowChange::truncate(orders(), DateTime::UNIX_EPOCH));
        assert_eq!((envelope.key(), envelope.value()), ("", None));
        assert_eq!(header(&envelope.headers(), "feed_op"), Some("truncate"));
    }

    #[test]
    fn a_withheld_row_has_an_empty_value_and_not_none() {
        let after = row(&[Cell::Text("7"), Cell::Text("f"), Cell::Unchanged]);
        let stub = envelope(RowChange::update(orders(), None, after, DateTime::UNIX_EPOCH)).withheld("too large");
        assert_eq!((stub.key(), stub.value()), ("7", Some(&b""[..])));
        let headers = stub.headers();
        assert_eq!(header(&headers, "content-type"), None);
        assert_eq!(header(&headers, "feed_unchanged"), None);
        assert_eq!(header(&headers, "feed_withheld"), Some("too large"));
    }
}
