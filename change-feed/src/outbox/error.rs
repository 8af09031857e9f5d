//! The errors of the guard.

use super::guard::Guard;
use super::rule::Rule;

/// Why a step, an append or an installation failed. Roll the transaction back after any of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// No row has this key: report it to the caller.
    #[error("no row of {table} has this key; nothing was changed")]
    NotFound {
        /// The aggregate's table.
        table: String,
    },
    /// The aggregate is in a final state: report it to the caller.
    #[error("refused by {constraint}: the row is in its final state; roll the transaction back")]
    Final {
        /// The name of the rule, [`Rule::IsFinal`].
        constraint: String,
        /// The database's answer.
        source: sqlx::Error,
    },
    /// Another rule or constraint of the tables refused: this program or another one does not keep the legal order.
    #[error("refused by {constraint}; roll the transaction back")]
    Refused {
        /// The name of the rule or constraint.
        constraint: String,
        /// The database's answer.
        source: sqlx::Error,
    },
    /// Another transaction was in the way (serialization failure, deadlock, lock timeout, busy): repeat the whole
    /// transaction.
    #[error("another transaction was in the way; roll this one back and repeat it")]
    Conflict(#[source] sqlx::Error),
    /// The payload can't be written as JSON: correct its type.
    #[error("the payload can't be written as JSON; the event was not appended")]
    Payload(#[source] serde_json::Error),
    /// The guard can't be installed on these tables. Nothing was installed; the reason says what to change.
    #[error("the guard was not installed: {reason}")]
    Unfit {
        /// What is wrong with the tables or the connection, and what to do.
        reason: String,
    },
    /// Another error of the database or of the connection.
    #[error("the database or the connection failed; roll the transaction back, and repeat it on a new connection")]
    Database(#[source] sqlx::Error),
}

impl GuardError {
    /// Sorts an error of the database by the caller's next move.
    pub(crate) fn from_database(guard: &Guard, error: sqlx::Error) -> Self {
        match violated_constraint(&error) {
            Some(constraint) if constraint == guard.constraint(Rule::IsFinal) => {
                Self::Final { constraint, source: error }
            }
            Some(constraint) => Self::Refused { constraint, source: error },
            None if is_conflict(&error) => Self::Conflict(error),
            None => Self::Database(error),
        }
    }

    /// Returns the name of the rule or constraint that refused, if one did.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Final { constraint, .. } | Self::Refused { constraint, .. } => Some(constraint),
            _ => None,
        }
    }
}

/// SQLite's extended code of an error that a trigger raised
/// (<https://sqlite.org/rescode.html#constraint_trigger>).
const SQLITE_CONSTRAINT_TRIGGER: &str = "1811";

/// Returns the name of the rule or constraint that refused a statement, the same name on PostgreSQL and SQLite.
///
/// For programs that write with plain SQL beside [`Guard::begin`] and [`Guard::append`]. SQLite gives no name for a foreign
/// key, so that a commit refused by [`Rule::VersionHasEvent`] returns `None`, nor for a unique key of the user's own.
pub fn violated_constraint(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    if let Some(constraint) = database.constraint() {
        return Some(constraint.to_owned());
    }
    let message = database.message();
    if let Some(name) = message.strip_prefix("CHECK constraint failed: ") {
        return Some(name.to_owned());
    }
    let raised = database.code().is_some_and(|code| code == SQLITE_CONSTRAINT_TRIGGER);
    let (name, _) = message.split_once(": ")?;
    raised.then(|| name.to_owned())
}

/// Whether repeating the transaction can help: SQLSTATE 40001, 40P01 and 55P03 (a lock timeout), SQLite's BUSY (5) and
/// LOCKED (6) with their extensions.
fn is_conflict(error: &sqlx::Error) -> bool {
    let Some(code) = error.as_database_error().and_then(|error| error.code()) else {
        return false;
    };
    match code.as_ref() {
        "40001" | "40P01" | "55P03" => true,
        code => code.len() < 5 && code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6)),
    }
}

/// Why an installation stopped.
#[derive(Debug)]
pub enum InstallError {
    /// The tables or the connection must be changed first: how.
    Unfit(String),
    /// The database failed or refused.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for InstallError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}
