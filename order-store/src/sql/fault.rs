//! What can go wrong below the store, and the reaction to it: the one place that knows the databases' codes.
//!
//! | reaction | the change | examples |
//! | --- | --- | --- |
//! | [`Again`](Reaction::Again) | was not made; try at once, on another connection if this one is unusable | serialization failure, deadlock, `SQLITE_BUSY`, a forgotten prepared statement |
//! | [`Refused`](Reaction::Refused) | was not made; the rule stays | a named constraint |
//! | [`Later`](Reaction::Later) | was not made; time helps | lock timeout, disk full, too many connections |
//! | [`FindOut`](Reaction::FindOut) | may have been made | the connection broke before the answer |
//! | [`CheckSchema`](Reaction::CheckSchema), [`CheckReadOnly`](Reaction::CheckReadOnly) | was not made; a look at the database tells | no such table, read-only transaction |
//! | [`SetUp`](Reaction::SetUp) | was not made; somebody has to correct the set-up | missing right, wrong password, any code that is not listed |

use std::error::Error;

use crate::error::StoreError;
use crate::sql::constraint::violated_constraint;

/// What went wrong in one attempt.
#[derive(Debug)]
pub enum Fault {
    /// An error of the database or of the connection.
    Database(sqlx::Error),
    /// An error that is final, in the caller's words.
    Final(StoreError),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Final(error)
    }
}

/// How far an attempt had come when it went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing was sent that could commit.
    NotStarted,
    /// The change was sent, and could commit by itself.
    InFlight,
}

/// What to do about an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Try the same again: nothing was changed.
    Again,
    /// This constraint refused.
    Refused(String),
    /// Nothing was changed; it passes with time.
    Later,
    /// The change may have been made.
    FindOut,
    /// The store's tables are missing, or are not those of this program.
    CheckSchema,
    /// The transaction was read-only: on a standby this passes, by a setting it does not.
    CheckReadOnly,
    /// Somebody has to correct the set-up or the program.
    SetUp,
}

impl Reaction {
    /// Classifies an error.
    pub(crate) fn to(error: &sqlx::Error, stage: Stage) -> Self {
        if let Some(constraint) = violated_constraint(error) {
            return Self::Refused(constraint);
        }
        let lost = match stage {
            Stage::NotStarted => Self::Later,
            Stage::InFlight => Self::FindOut,
        };
        match error {
            sqlx::Error::Database(database) => match database.code() {
                Some(code) if code.len() == SQLSTATE_LENGTH => of_sqlstate(&code, database.message(), lost),
                Some(code) => of_sqlite(&code, database.message(), lost),
                None => Self::SetUp,
            },
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Self::Later,
            // SQLite: sqlx and the database don't agree on whether a transaction is open.
            sqlx::Error::BeginFailed | sqlx::Error::InvalidSavePointStatement => Self::Again,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => lost,
            _ => Self::SetUp,
        }
    }

    /// The error in the caller's words.
    pub(crate) fn explain(self, error: sqlx::Error) -> StoreError {
        match self {
            Self::Again | Self::Later => StoreError::unavailable(error),
            Self::FindOut => StoreError::unknown(error),
            Self::Refused(constraint) => crate::error::Refusal::Violation { constraint }.into(),
            Self::CheckSchema | Self::CheckReadOnly | Self::SetUp => StoreError::Setup { source: error.into() },
        }
    }
}

/// The error of a step that changes nothing, in the caller's words.
pub(crate) fn explain_unstarted(error: sqlx::Error) -> StoreError {
    Reaction::to(&error, Stage::NotStarted).explain(error)
}

/// Whether a connection is in a known state after this error, so that it may be used again.
///
/// SQLite rolls a transaction back by itself after some errors, which sqlx does not notice. PostgreSQL's sessions end
/// after some, forget what sqlx believes them to know after others, and stay read-only after a fail-over.
pub(crate) fn leaves_connection_usable(error: &sqlx::Error) -> bool {
    let database = match error {
        sqlx::Error::Database(database) => database,
        // The answer came, and was not what this program expects.
        sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => return true,
        sqlx::Error::Decode(_) | sqlx::Error::ColumnIndexOutOfBounds { .. } => return true,
        _ => return false,
    };
    match database.code() {
        Some(code) if code.len() == SQLSTATE_LENGTH => {
            !(ends_session(&code) || is_stale(&code, database.message()) || code == READ_ONLY)
        }
        Some(code) => {
            let kind = code.parse::<u32>().map(|code| code & KIND);
            matches!(kind, Ok(sqlite::ERROR | sqlite::BUSY | sqlite::LOCKED | sqlite::CONSTRAINT))
                && !is_nested(database.message())
        }
        None => false,
    }
}

const SQLSTATE_LENGTH: usize = 5;
const READ_ONLY: &str = "25006";

/// PostgreSQL's codes (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn of_sqlstate(code: &str, message: &str, lost: Reaction) -> Reaction {
    match (code, &code[..2]) {
        // idle_session_timeout: ended before it read the statement
        ("57P05", _) => Reaction::Again,
        // idle_in_transaction_session_timeout, transaction_timeout: rolled back
        ("25P03" | "25P04", _) => Reaction::Later,
        // statement_completion_unknown
        ("40003", _) => lost,
        // serialization_failure, deadlock_detected and others of the class: rolled back
        (_, "40") => Reaction::Again,
        _ if is_stale(code, message) => Reaction::Again,
        (READ_ONLY, _) => Reaction::CheckReadOnly,
        // cannot_connect_now
        ("57P03", _) => Reaction::Later,
        // The server may end a session at any moment, after a commit too.
        _ if ends_session(code) => lost,
        // lock_not_available, query_canceled; classes insufficient_resources and system_error
        ("55P03" | "57014", _) | (_, "53" | "58") => Reaction::Later,
        // undefined table, column, function
        ("42P01" | "42703" | "42883", _) => Reaction::CheckSchema,
        _ => Reaction::SetUp,
    }
}

/// The session is over: connection exceptions, operator intervention, the timeouts of sessions and transactions.
fn ends_session(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P") || matches!(code, "25P03" | "25P04")
}

/// The server doesn't know the prepared statement, has another under its name, or one whose columns have changed: after
/// `DISCARD ALL`, through a pooler, after a migration. Nothing was executed.
fn is_stale(code: &str, message: &str) -> bool {
    matches!(code, "26000" | "42P05") || (code == "0A000" && message.starts_with("cached plan"))
}

/// The lowest byte of a code of SQLite is its kind; the rest says more.
const KIND: u32 = 0xff;

/// SQLite's codes (<https://sqlite.org/rescode.html>).
mod sqlite {
    pub(super) const ERROR: u32 = 1;
    pub(super) const ABORT: u32 = 4;
    pub(super) const BUSY: u32 = 5;
    pub(super) const LOCKED: u32 = 6;
    pub(super) const NO_MEMORY: u32 = 7;
    pub(super) const INTERRUPT: u32 = 9;
    pub(super) const IO_ERROR: u32 = 10;
    pub(super) const FULL: u32 = 13;
    pub(super) const PROTOCOL: u32 = 15;
    pub(super) const SCHEMA: u32 = 17;
    pub(super) const CONSTRAINT: u32 = 19;
}

fn of_sqlite(code: &str, message: &str, lost: Reaction) -> Reaction {
    match code.parse::<u32>().map(|code| code & KIND) {
        Ok(sqlite::BUSY | sqlite::LOCKED | sqlite::PROTOCOL | sqlite::SCHEMA) => Reaction::Again,
        Ok(sqlite::ABORT | sqlite::INTERRUPT | sqlite::FULL | sqlite::NO_MEMORY) => Reaction::Later,
        Ok(sqlite::IO_ERROR) => lost,
        Ok(sqlite::ERROR) if is_nested(message) => Reaction::Again,
        // "no such table" has no code of its own
        Ok(sqlite::ERROR) => Reaction::CheckSchema,
        _ => Reaction::SetUp,
    }
}

/// Somebody else's transaction is open on the connection.
fn is_nested(message: &str) -> bool {
    message.starts_with("cannot start a transaction within a transaction")
}

/// Names the part of an order whose stored value breaks a rule of the domain.
pub(crate) trait OrUnreadable<T> {
    /// Turns the error into [`StoreError::Unreadable`].
    fn or_unreadable(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T, E: Error + Send + Sync + 'static> OrUnreadable<T> for Result<T, E> {
    fn or_unreadable(self, what: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Unreadable { what, source: Some(source.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str) -> Reaction {
        of_sqlstate(code, "", Reaction::FindOut)
    }

    #[test]
    fn what_the_server_rolled_back_is_never_unknown() {
        for code in ["40001", "40P01", "40000", "26000", "42P05", "57P05"] {
            assert_eq!(of(code), Reaction::Again, "{code}");
        }
        for code in ["53100", "53300", "55P03", "57014", "57P03", "25P03", "25P04", "58030"] {
            assert_eq!(of(code), Reaction::Later, "{code}");
        }
        for code in ["42501", "28P01", "3D000", "XX000", "22003", "0A000", "P0001", "99999"] {
            assert_eq!(of(code), Reaction::SetUp, "{code}");
        }
        let changed = of_sqlstate("0A000", "cached plan must not change result type", Reaction::FindOut);
        assert_eq!(changed, Reaction::Again);
        assert_eq!(of("42P01"), Reaction::CheckSchema);
        assert_eq!(of("25006"), Reaction::CheckReadOnly);
    }

    #[test]
    fn a_session_that_ends_leaves_a_change_in_flight_unknown() {
        for code in ["57P01", "57P02", "57P04", "08006", "40003"] {
            assert_eq!(of(code), Reaction::FindOut, "{code}");
            assert_eq!(of_sqlstate(code, "", Reaction::Later), Reaction::Later, "{code}");
        }
        let cut = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(Reaction::to(&cut(), Stage::InFlight), Reaction::FindOut);
        assert_eq!(Reaction::to(&cut(), Stage::NotStarted), Reaction::Later);
        assert_eq!(Reaction::to(&sqlx::Error::PoolTimedOut, Stage::InFlight), Reaction::Later);
        assert!(!leaves_connection_usable(&cut()));
    }

    #[test]
    fn sqlites_codes_count_with_all_their_extensions() {
        let of = |code: &str| of_sqlite(code, "", Reaction::FindOut);
        // BUSY, BUSY_SNAPSHOT, LOCKED_SHAREDCACHE
        assert_eq!(["5", "517", "262"].map(of), [const { Reaction::Again }; 3]);
        // IOERR, IOERR_FSYNC
        assert_eq!(["10", "1034"].map(of), [const { Reaction::FindOut }; 2]);
        // FULL, NOMEM, INTERRUPT
        assert_eq!(["13", "7", "9"].map(of), [const { Reaction::Later }; 3]);
        // READONLY, READONLY_DIRECTORY, CORRUPT, NOTADB
        assert_eq!(["8", "1544", "11", "26"].map(of), [const { Reaction::SetUp }; 4]);
        assert_eq!(of("1"), Reaction::CheckSchema);
    }
}
