//! The outboxes, tables and messages that a feed captures.

use std::fmt;
use std::sync::Arc;

use crate::outbox::table::Outbox;

/// The outboxes, tables and messages that a feed captures.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    pub(super) outboxes: Vec<Outbox>,
    pub(super) tables: Vec<TableName>,
    /// The prefix of the messages that are events.
    pub(super) messages: Option<Arc<str>>,
}

/// A table by its schema and its own name, as they are: not quoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TableName {
    pub(super) schema: String,
    pub(super) name: String,
}

impl TableName {
    /// `schema.table`, or `table` in the schema `public`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        let whole = !schema.is_empty() && !name.is_empty();
        whole.then(|| Self { schema: schema.to_owned(), name: name.to_owned() })
    }

    pub(super) fn of(outbox: &Outbox) -> Self {
        Self { schema: outbox.schema().to_owned(), name: outbox.table().to_owned() }
    }

    /// Quoted for a statement.
    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// Quotes a name for a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Selection {
    /// The outbox with this table's name.
    pub(super) fn outbox(&self, schema: &str, name: &str) -> Option<&Outbox> {
        self.outboxes.iter().find(|outbox| outbox.schema() == schema && outbox.table() == name)
    }

    /// Whether the rows of this table are captured.
    pub(super) fn has_rows_of(&self, schema: &str, name: &str) -> bool {
        self.tables.iter().any(|table| table.schema == schema && table.name == name)
    }

    /// Every table that has to be published.
    pub(super) fn published(&self) -> Vec<TableName> {
        let mut tables: Vec<_> = self.outboxes.iter().map(TableName::of).chain(self.tables.iter().cloned()).collect();
        tables.sort();
        tables.dedup();
        tables
    }

    /// Whether nothing is captured.
    pub(super) fn is_empty(&self) -> bool {
        self.outboxes.is_empty() && self.tables.is_empty() && self.messages.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_with_or_without_its_schema() {
        let named = |text| TableName::parse(text).map(|table| table.to_string());
        assert_eq!(named("orders").as_deref(), Some("public.orders"));
        assert_eq!(named("shop.orders.old").as_deref(), Some("shop.orders.old"));
        assert_eq!(named("shop."), None);
        assert_eq!(named(""), None);
        let odd = TableName { schema: "a\"b".to_owned(), name: "c".to_owned() };
        assert_eq!(odd.quoted(), r#""a""b"."c""#);
    }
}
