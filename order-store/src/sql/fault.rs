//! What went wrong below the store, and the next move for it: the one place that knows the databases' codes.

use crate::StoreError;
use crate::sql::constraint::violated_constraint;

/// What went wrong in one attempt.
#[derive(Debug)]
pub enum Fault {
    /// The database or the connection.
    Database(sqlx::Error),
    /// Already in the caller's words.
    Told(StoreError),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Told(error)
    }
}

/// What the attempt was about when it went wrong: whether its change may have happened all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Nothing of it had been sent, or there was nothing to change.
    Safe,
    /// It was on its way, and could commit by itself.
    Underway,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Move {
    /// Others were in the way and nothing was changed: the same again.
    Again,
    /// This constraint refused.
    Refused(String),
    /// Nothing was changed; later.
    Later,
    /// It may have happened.
    FindOut,
    /// The store's tables are missing, or not those that the program knows.
    OtherSchema,
    /// Somebody has to mend the program or the set-up.
    Mend,
}

impl Move {
    pub(crate) fn after(error: &sqlx::Error, at: At) -> Self {
        if let Some(constraint) = violated_constraint(error) {
            return Self::Refused(constraint);
        }
        match error {
            sqlx::Error::Database(database) => match database.code() {
                Some(code) if code.len() == SQLSTATE_LENGTH => after_sqlstate(&code, at),
                Some(code) => after_sqlite(&code, at),
                None => Self::Mend,
            },
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Self::Later,
            // Whatever else breaks on the way leaves the answer unheard.
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                match at {
                    At::Safe => Self::Later,
                    At::Underway => Self::FindOut,
                }
            }
            _ => Self::Mend,
        }
    }
}

const SQLSTATE_LENGTH: usize = 5;

/// PostgreSQL's codes (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn after_sqlstate(code: &str, at: At) -> Move {
    match (code, &code[..2]) {
        // serialization_failure, deadlock_detected
        ("40001" | "40P01", _) => Move::Again,
        // statement_completion_unknown; the server ends the session, which it may do at any moment, also behind a commit
        ("40003" | "57P01" | "57P02" | "57P04", _) | (_, "08") => match at {
            At::Safe => Move::Later,
            At::Underway => Move::FindOut,
        },
        // lock_not_available, query_canceled, cannot_connect_now, read_only_sql_transaction (a standby: a fail-over is
        // under way), insufficient resources
        ("55P03" | "57014" | "57P03" | "25006", _) | (_, "53") => Move::Later,
        // undefined table, column, function
        ("42P01" | "42703" | "42883", _) => Move::OtherSchema,
        _ => Move::Mend,
    }
}

/// SQLite's codes (<https://sqlite.org/rescode.html>); the lowest byte is the kind, the rest says more.
fn after_sqlite(code: &str, at: At) -> Move {
    const ERROR: u32 = 1;
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const INTERRUPT: u32 = 9;
    const IO_ERROR: u32 = 10;
    const FULL: u32 = 13;
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(BUSY | LOCKED) => Move::Again,
        Ok(INTERRUPT | FULL) => Move::Later,
        Ok(IO_ERROR) => match at {
            At::Safe => Move::Later,
            At::Underway => Move::FindOut,
        },
        // "no such table" has no code of its own
        Ok(ERROR) => Move::OtherSchema,
        _ => Move::Mend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_rolled_back_is_never_unknown() {
        for code in ["40001", "40P01"] {
            assert_eq!(after_sqlstate(code, At::Underway), Move::Again);
        }
        for code in ["53100", "53300", "55P03", "57014", "25006"] {
            assert_eq!(after_sqlstate(code, At::Underway), Move::Later, "{code}");
        }
        for code in ["42501", "28P01", "3D000", "XX000", "22003"] {
            assert_eq!(after_sqlstate(code, At::Underway), Move::Mend, "{code}");
        }
        assert_eq!(after_sqlstate("42P01", At::Underway), Move::OtherSchema);
    }

    #[test]
    fn a_session_that_ends_leaves_a_change_under_way_unknown() {
        for code in ["57P01", "57P02", "57P04", "08006", "40003"] {
            assert_eq!(after_sqlstate(code, At::Underway), Move::FindOut, "{code}");
            assert_eq!(after_sqlstate(code, At::Safe), Move::Later, "{code}");
        }
        let cut = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(Move::after(&cut(), At::Underway), Move::FindOut);
        assert_eq!(Move::after(&cut(), At::Safe), Move::Later);
        assert_eq!(Move::after(&sqlx::Error::PoolTimedOut, At::Underway), Move::Later);
    }

    #[test]
    fn sqlites_codes_count_with_all_their_extensions() {
        let after = |code: &str| after_sqlite(code, At::Underway);
        // BUSY, BUSY_SNAPSHOT, LOCKED_SHAREDCACHE
        assert_eq!(["5", "517", "262"].map(after), [const { Move::Again }; 3]);
        // IOERR, IOERR_FSYNC
        assert_eq!(["10", "1034"].map(after), [const { Move::FindOut }; 2]);
        assert_eq!(after("13"), Move::Later);
        // READONLY, READONLY_DIRECTORY, CORRUPT, NOTADB
        assert_eq!(["8", "1544", "11", "26"].map(after), [const { Move::Mend }; 4]);
        assert_eq!(after("1"), Move::OtherSchema);
    }
}
