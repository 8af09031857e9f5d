//! The table that holds an outbox.

use super::dialect::{Dialect, identifier};
use super::key::KeyType;

/// The name of an outbox and of the column with the aggregate's key. Pure data: it opens nothing.
///
/// Its columns are the same everywhere: `sequence`, `event_id`, the key, `version`, `event_type`, `payload`,
/// `occurred_at`, `traceparent`, `baseline`, and on PostgreSQL `transaction_id`.
///
/// ```
/// use change_feed::outbox::{Dialect, Outbox};
///
/// let outbox = Outbox::new("order_events", "order_id");
/// assert_eq!(outbox.qualified(Dialect::Postgres), "public.order_events");
/// assert_eq!(outbox.qualified(Dialect::Sqlite), "order_events");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outbox {
    schema: Option<String>,
    table: String,
    key: String,
    key_type: KeyType,
    type_prefix: String,
    type_suffix: String,
}

impl Outbox {
    /// Describes the outbox in this table, whose aggregates are identified by the column `key`, a UUID.
    pub fn new(table: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            schema: None,
            table: table.into(),
            key: key.into(),
            key_type: KeyType::Uuid,
            type_prefix: String::new(),
            type_suffix: String::new(),
        }
    }

    /// Sets a schema other than `public`. SQLite has no schemas and ignores it.
    #[must_use]
    pub fn in_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Sets the type of the key, if it is not a UUID.
    #[must_use]
    pub fn key_type(mut self, key_type: KeyType) -> Self {
        self.key_type = key_type;
        self
    }

    /// Sets text that consumers see before and after the table's `event_type`: `item_added` between `order.` and `.v1`.
    /// By default they see the table's value.
    ///
    /// ```
    /// use change_feed::outbox::Outbox;
    ///
    /// let outbox = Outbox::new("order_events", "order_id").event_type_format("order.", ".v1");
    /// assert_eq!(outbox.cloud_event_type("item_added"), "order.item_added.v1");
    /// ```
    #[must_use]
    pub fn event_type_format(mut self, prefix: impl Into<String>, suffix: impl Into<String>) -> Self {
        self.type_prefix = prefix.into();
        self.type_suffix = suffix.into();
        self
    }

    /// Returns the type that consumers see for this `event_type` of the table.
    pub fn cloud_event_type(&self, event_type: &str) -> String {
        [&self.type_prefix, event_type, &self.type_suffix].concat()
    }

    /// The schema on PostgreSQL.
    pub fn schema(&self) -> &str {
        self.schema.as_deref().unwrap_or("public")
    }

    /// The table's name, neither qualified nor quoted.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The column that identifies the aggregate, not quoted.
    pub fn key_column(&self) -> &str {
        &self.key
    }

    /// The type of that column.
    pub fn key_kind(&self) -> KeyType {
        self.key_type
    }

    /// Writes the table's name for a statement: qualified if the database has schemas, quoted where it must be.
    pub fn qualified(&self, dialect: Dialect) -> String {
        qualified(dialect, self.schema(), &self.table)
    }

    /// Writes the name of the key's column for a statement.
    pub fn quoted_key_column(&self) -> String {
        identifier(&self.key)
    }
}

/// Writes the name of a table, or of another object in a schema, for a statement.
pub(crate) fn qualified(dialect: Dialect, schema: &str, name: &str) -> String {
    match dialect {
        Dialect::Postgres => format!("{}.{}", identifier(schema), identifier(name)),
        Dialect::Sqlite => identifier(name),
    }
}
