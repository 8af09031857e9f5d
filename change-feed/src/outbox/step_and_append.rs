//! Installs the guard; steps and appends in the caller's own transaction.

use serde::Serialize;

use super::baseline::Baseline;
use super::connection::GuardConnection;
use super::dialect::identifier;
use super::error::{GuardError, InstallError};
use super::event::Event;
use super::guard::Guard;
use super::key::Key;
use super::table::qualified;

impl Guard {
    /// Installs the rules on tables that exist, and the outbox if it does not exist, in one transaction. Repeating it changes
    /// nothing.
    ///
    /// Locks the tables until it has ended. The aggregate's table must not have rows without events (see [`Guard::adopt`]).
    /// On SQLite the connection must have `foreign_keys=ON` and be outside of a transaction.
    ///
    /// # Errors
    ///
    /// [`GuardError::Unfit`] says what to change. After any error nothing was installed.
    pub async fn install<C: GuardConnection>(&self, connection: &mut C) -> Result<(), GuardError> {
        connection.install(self).await.map_err(|error| self.not_installed(error))
    }

    /// Installs the rules on tables that have rows: each row gets a baseline event at its present version. Returns the number
    /// of these events. After an interruption, call it again to finish; repeating it after that changes nothing.
    ///
    /// Consumers receive the event as a baseline, which bridges the versions that have no event.
    ///
    /// On PostgreSQL other programs can write meanwhile, in the legal order. A row can't step until it has its baseline
    /// (refused by [`Rule::VersionHasEvent`](super::Rule::VersionHasEvent): try again); its children may change without a
    /// step until then. The tables are locked at the beginning and at the end, while triggers are created. On SQLite it is
    /// one transaction. The connection must be outside of a transaction.
    ///
    /// # Errors
    ///
    /// As [`Guard::install`], and [`GuardError::Refused`] if a payload can't be an event's, for example because of its size.
    pub async fn adopt<C: GuardConnection>(&self, connection: &mut C, baseline: &Baseline) -> Result<u64, GuardError> {
        connection.adopt(self, baseline).await.map_err(|error| self.not_installed(error))
    }

    fn not_installed(&self, error: InstallError) -> GuardError {
        match error {
            InstallError::Unfit(reason) => GuardError::Unfit { reason },
            InstallError::Database(error) => GuardError::from_database(self, error),
        }
    }

    /// Locks the aggregate until the transaction ends, steps its version and returns the new one. The aggregate and its
    /// children may change from here until the version's event is appended.
    ///
    /// A new aggregate needs no step: insert its row at version 1, then append.
    ///
    /// On SQLite begin the transaction with `BEGIN IMMEDIATE`. Waits for another transaction that has locked the aggregate.
    /// If the future is dropped, the state of the transaction is unknown: roll it back.
    ///
    /// # Errors
    ///
    /// [`GuardError::NotFound`], [`GuardError::Final`], [`GuardError::Conflict`], or another error of the database.
    pub async fn begin<C: GuardConnection>(&self, connection: &mut C, key: impl Into<Key>) -> Result<i64, GuardError> {
        let table = qualified(C::DIALECT, self.schema_name(), self.table_name());
        let (key_column, version) = (identifier(self.key_column()), identifier(self.version_column()));
        let sql = format!(
            "update {table} set {version} = {version} + 1 where {key_column} = $1 returning cast({version} as bigint)"
        );
        match connection.fetch_version(sql, &key.into()).await {
            Ok(Some(version)) => Ok(version),
            Ok(None) => Err(GuardError::NotFound { table: self.table_name().to_owned() }),
            Err(error) => Err(GuardError::from_database(self, error)),
        }
    }

    /// Appends the event of the present version, and so closes the version.
    ///
    /// If the future is dropped, the state of the transaction is unknown: roll it back.
    ///
    /// # Errors
    ///
    /// [`GuardError::Refused`] with the rule's name if the event is not that of the present version, or too large;
    /// [`GuardError::Payload`] if it can't be written as JSON.
    pub async fn append<C: GuardConnection, P: Serialize + ?Sized>(
        &self,
        connection: &mut C,
        event: Event<'_, P>,
    ) -> Result<(), GuardError> {
        let outbox = self.outbox_table();
        let row = event.row().map_err(GuardError::Payload)?;
        let sql = format!(
            "insert into {} ({}, event_id, version, event_type, payload, occurred_at, traceparent)
             values ($1, $2, $3, $4, {}, coalesce($6, {}), $7)",
            outbox.qualified(C::DIALECT),
            outbox.quoted_key_column(),
            C::PAYLOAD,
            C::NOW,
        );
        connection.insert_event(sql, row).await.map_err(|error| GuardError::from_database(self, error))
    }
}
