//! The connections that the guard works on: one small seam, sealed, with an implementation for each database.

use std::future::Future;

use super::baseline::Baseline;
use super::dialect::Dialect;
use super::event::Row;
use super::guard::Guard;
use super::installation::InstallError;
use super::key::Key;

/// A connection, or the `&mut *tx` of a transaction, of a database that the guard speaks to: `PgConnection` and
/// `SqliteConnection`. Sealed: nobody else implements it.
pub trait GuardConnection: sealed::Connection {}

pub(crate) mod sealed {
    use super::{Baseline, Dialect, Future, Guard, InstallError, Key, Row};

    /// What the guard asks of a connection.
    pub trait Connection: Send {
        const DIALECT: Dialect;

        /// Runs a statement that answers one integer, or no row.
        fn step(&mut self, sql: String, key: &Key) -> impl Future<Output = sqlx::Result<Option<i64>>> + Send;

        /// Runs the statement that inserts an event.
        fn insert(&mut self, sql: String, row: Row<'_>) -> impl Future<Output = sqlx::Result<()>> + Send;

        /// Installs the guard in a transaction of its own.
        fn install(&mut self, guard: &Guard) -> impl Future<Output = Result<(), InstallError>> + Send;

        /// Brings rows that exist under the guard, and answers how many.
        fn adopt(
            &mut self,
            guard: &Guard,
            baseline: &Baseline,
        ) -> impl Future<Output = Result<u64, InstallError>> + Send;
    }
}
