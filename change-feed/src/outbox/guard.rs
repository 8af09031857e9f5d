//! The guard of an aggregate: which tables it joins.

use super::key::KeyType;
use super::table::Outbox;

/// The default limit of a payload: below the 1 MB that Kafka's brokers accept, with room for key and headers.
pub(crate) const PAYLOAD_LIMIT_BYTES: u32 = 900_000;

/// The guard "the event closes the version" of one aggregate table, its children tables and its outbox.
///
/// It describes the tables. [`Guard::sql`] writes a script for a migration tool; with the features `postgres` or `sqlite`
/// the guard installs itself, and steps and appends in a transaction of the caller's.
///
/// ```
/// use change_feed::outbox::{Dialect, Guard};
///
/// let guard = Guard::new("invoices")
///     .key("invoice_id")
///     .final_state("status", "cancelled")
///     .children("invoice_lines", "invoice_id")
///     .outbox("invoice_events");
/// let script = guard.sql(Dialect::Postgres);
/// assert!(script.contains("create table public.invoice_events"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    schema: Option<String>,
    table: String,
    key: String,
    key_type: KeyType,
    version: String,
    final_states: Vec<(String, String)>,
    children: Vec<Children>,
    outbox: String,
    prefix: String,
    payload_limit_bytes: u32,
    version_key: VersionKey,
}

/// A table whose rows belong to the aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Children {
    pub(crate) table: String,
    /// The column that holds the aggregate's key.
    pub(crate) key: String,
    /// Unique keys of the table that leave the aggregate's key out.
    pub(crate) own_keys: Vec<Vec<String>>,
    /// How many of them an aggregate may have.
    pub(crate) limit: Option<u32>,
}

/// Where SQLite has the foreign key from a version to its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionKey {
    /// In a table that the guard makes.
    Generated,
    /// In the aggregate's own `create table`.
    Declared,
}

impl Guard {
    /// Creates a guard for this aggregate table, with its key in the column `id`, its version in `version`, and the outbox
    /// `<table>_events`.
    pub fn new(table: impl Into<String>) -> Self {
        let table = table.into();
        Self {
            schema: None,
            outbox: format!("{table}_events"),
            table,
            key: "id".to_owned(),
            key_type: KeyType::Uuid,
            version: "version".to_owned(),
            final_states: Vec::new(),
            children: Vec::new(),
            prefix: String::new(),
            payload_limit_bytes: PAYLOAD_LIMIT_BYTES,
            version_key: VersionKey::Generated,
        }
    }

    /// Sets the column that identifies an aggregate: its primary key, or unique and not null. The outbox has a column of the
    /// same name.
    #[must_use]
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.key = column.into();
        self
    }

    /// Sets the key's type, if it is not a UUID.
    #[must_use]
    pub fn key_type(mut self, key_type: KeyType) -> Self {
        self.key_type = key_type;
        self
    }

    /// Sets the column that counts the aggregate's changes: an integer and not null.
    #[must_use]
    pub fn version(mut self, column: impl Into<String>) -> Self {
        self.version = column.into();
        self
    }

    /// Adds a final state: when the column has this value, neither the aggregate nor its children change any more. May be
    /// called several times; each of the states is final.
    #[must_use]
    pub fn final_state(mut self, column: impl Into<String>, value: impl Into<String>) -> Self {
        self.final_states.push((column.into(), value.into()));
        self
    }

    /// Adds a children table, whose rows belong to the aggregate that the column `key` names. May be called several times. The
    /// guard ignores a row whose `key` is null.
    #[must_use]
    pub fn children(mut self, table: impl Into<String>, key: impl Into<String>) -> Self {
        self.children.push(Children { table: table.into(), key: key.into(), own_keys: Vec::new(), limit: None });
        self
    }

    /// Adds a unique key, without the aggregate's key in it, of the children table that was added last (`line_id`, if lines
    /// are numbered across all invoices).
    ///
    /// Needed for scripts for SQLite: `INSERT OR REPLACE` removes the conflicting row without calling a trigger, and with such
    /// a key that row may be another aggregate's. [`Guard::install`] finds these keys in the database.
    #[must_use]
    pub fn children_key<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        if let Some(children) = self.children.last_mut() {
            children.own_keys.push(columns.into_iter().map(Into::into).collect());
        }
        self
    }

    /// Limits the rows that an aggregate may have in the children table that was added last. Each insert counts them, which
    /// is cheap for a limit of hundreds and slow for many thousands.
    #[must_use]
    pub fn children_limit(mut self, limit: u32) -> Self {
        if let Some(children) = self.children.last_mut() {
            children.limit = Some(limit);
        }
        self
    }

    /// Sets the name of the outbox table, in the schema of the aggregate's table.
    #[must_use]
    pub fn outbox(mut self, table: impl Into<String>) -> Self {
        self.outbox = table.into();
        self
    }

    /// Sets the schema of all these tables, if it is not `public`. SQLite has no schemas and ignores it.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Sets the largest payload that the database accepts, in bytes; 900,000 by default. Keep it below the broker's limit for a
    /// message. An outbox that exists keeps its limit.
    #[must_use]
    pub fn payload_limit_bytes(mut self, limit: u32) -> Self {
        self.payload_limit_bytes = limit;
        self
    }

    /// Sets a prefix for the names of constraints, triggers and functions.
    #[must_use]
    pub fn name_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Declares that on SQLite the aggregate's own `create table` has the foreign key of [`Guard::version_key_clause`].
    ///
    /// SQLite can't add a foreign key to a table that exists, so by default the guard makes a small table for it. No effect on
    /// PostgreSQL.
    #[must_use]
    pub fn version_key_declared(mut self) -> Self {
        self.version_key = VersionKey::Declared;
        self
    }

    /// Describes the outbox for a source.
    pub fn outbox_table(&self) -> Outbox {
        let outbox = Outbox::new(&self.outbox, &self.key).key_type(self.key_type);
        match &self.schema {
            Some(schema) => outbox.in_schema(schema),
            None => outbox,
        }
    }

    /// The name of the aggregate's table, neither qualified nor quoted.
    pub fn table_name(&self) -> &str {
        &self.table
    }

    pub(crate) fn outbox_name(&self) -> &str {
        &self.outbox
    }

    pub(crate) fn schema_name(&self) -> &str {
        self.schema.as_deref().unwrap_or("public")
    }

    pub(crate) fn key_column(&self) -> &str {
        &self.key
    }

    pub(crate) fn kind_of_key(&self) -> KeyType {
        self.key_type
    }

    pub(crate) fn version_column(&self) -> &str {
        &self.version
    }

    pub(crate) fn final_states(&self) -> &[(String, String)] {
        &self.final_states
    }

    pub(crate) fn children_tables(&self) -> &[Children] {
        &self.children
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn children_tables_mut(&mut self) -> &mut [Children] {
        &mut self.children
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn payload_limit(&self) -> u32 {
        self.payload_limit_bytes
    }

    pub(crate) fn version_key(&self) -> VersionKey {
        self.version_key
    }
}
