//! Why an installation of the guard stopped.

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
