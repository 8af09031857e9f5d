//! The id of an aggregate.

use std::fmt;

use uuid::Uuid;

use super::dialect::Dialect;

/// The type of the column that identifies an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum KeyType {
    /// `uuid`; on SQLite text in the hyphenated form (bind `id.hyphenated()`: sqlx writes a bare `Uuid` as a blob there).
    #[default]
    Uuid,
    /// `text`.
    Text,
    /// `bigint`; on SQLite `integer`.
    BigInt,
}

impl KeyType {
    /// The type in a `create table`.
    pub(crate) fn sql(self, dialect: Dialect) -> &'static str {
        match (dialect, self) {
            (Dialect::Postgres, Self::Uuid) => "uuid",
            (_, Self::Text) | (Dialect::Sqlite, Self::Uuid) => "text",
            (Dialect::Postgres, Self::BigInt) => "bigint",
            (Dialect::Sqlite, Self::BigInt) => "integer",
        }
    }
}

/// The id of an aggregate, as a parameter of statements.
///
/// ```
/// use change_feed::outbox::Key;
///
/// assert_eq!(Key::from(42).to_string(), "42");
/// assert_eq!(Key::from("INV-7").to_string(), "INV-7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Key {
    /// For a column of [`KeyType::Uuid`].
    Uuid(Uuid),
    /// For a column of [`KeyType::Text`].
    Text(String),
    /// For a column of [`KeyType::BigInt`].
    BigInt(i64),
}

impl From<Uuid> for Key {
    fn from(id: Uuid) -> Self {
        Self::Uuid(id)
    }
}

impl From<&Uuid> for Key {
    fn from(id: &Uuid) -> Self {
        Self::Uuid(*id)
    }
}

impl From<String> for Key {
    fn from(id: String) -> Self {
        Self::Text(id)
    }
}

impl From<&str> for Key {
    fn from(id: &str) -> Self {
        Self::Text(id.to_owned())
    }
}

impl From<i64> for Key {
    fn from(id: i64) -> Self {
        Self::BigInt(id)
    }
}

/// Writes the text that is the key of a record in Kafka.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(id) => id.fmt(f),
            Self::Text(id) => id.fmt(f),
            Self::BigInt(id) => id.fmt(f),
        }
    }
}
