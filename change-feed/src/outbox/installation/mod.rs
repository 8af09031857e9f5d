//! Bringing tables that exist under the guard, one file for each database.

#[cfg(feature = "postgres")]
pub(super) mod postgres;
#[cfg(feature = "sqlite")]
pub(super) mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_tables;

/// Why an installation stopped.
#[derive(Debug)]
pub enum InstallError {
    /// The tables or the connection won't do: what to change.
    Unfit(String),
    /// The database failed or refused.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for InstallError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}
