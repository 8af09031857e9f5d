//! What a database implements for the guard.

use std::future::Future;

use super::baseline::Baseline;
use super::dialect::Dialect;
use super::error::InstallError;
use super::event::EventRow;
use super::guard::Guard;
use super::key::Key;

/// A connection, or the `&mut *tx` of a transaction: `PgConnection` or `SqliteConnection`.
///
/// Sealed: no other crate can implement it.
pub trait GuardConnection: sealed::Connection {}

pub(crate) mod sealed {
    use super::{Baseline, Dialect, EventRow, Future, Guard, InstallError, Key};

    /// The statements of the guard on one database.
    pub trait Connection: Send {
        const DIALECT: Dialect;
        /// An expression that turns the text parameter `$5` into a payload.
        const PAYLOAD: &str;
        /// An expression that gives the present time.
        const NOW: &str;

        /// Runs a statement with the parameter `key` that returns one integer, or no row.
        fn fetch_version(&mut self, sql: String, key: &Key) -> impl Future<Output = sqlx::Result<Option<i64>>> + Send;

        /// Runs an insert with the parameters key, id, version, type, payload, time, trace context.
        fn insert_event(&mut self, sql: String, row: EventRow<'_>) -> impl Future<Output = sqlx::Result<()>> + Send;

        /// Installs the guard in a transaction of its own.
        fn install(&mut self, guard: &Guard) -> impl Future<Output = Result<(), InstallError>> + Send;

        /// Appends a baseline event for each row without an event and installs the guard. Returns the number of events.
        fn adopt(
            &mut self,
            guard: &Guard,
            baseline: &Baseline,
        ) -> impl Future<Output = Result<u64, InstallError>> + Send;
    }
}
