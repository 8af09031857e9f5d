//! Creates replication slots.

use std::time::Duration;

use crate::error::ReplicationError;
use crate::lsn::Lsn;
use crate::quoting;

/// The first release with parentheses around the command's options.
const PARENTHESES_SINCE: u32 = 15;
/// The first release that synchronizes slots to standbys.
const FAILOVER_SINCE: u32 = 17;
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// The options of a new logical replication slot for the plug-in pgoutput.
///
/// ```
/// use postgres_replication::{NewSlot, SlotSnapshot};
///
/// let slot = NewSlot::new("orders").snapshot(SlotSnapshot::Export);
/// # let _ = slot;
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct NewSlot {
    name: String,
    is_temporary: bool,
    has_failover: bool,
    snapshot: SlotSnapshot,
    pub(super) wait_limit: Duration,
}

/// What to do with the snapshot of the database that meets the slot's first change without gap or overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlotSnapshot {
    /// Drop it.
    #[default]
    Nothing,
    /// Export it to other sessions (`SET TRANSACTION SNAPSHOT`), until the next command on this connection.
    Export,
    /// Use it in the transaction that is open on this connection. The transaction must be READ ONLY and REPEATABLE READ, and
    /// must not have read anything yet.
    Use,
}

/// A slot that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedSlot {
    /// Its name.
    pub name: String,
    /// The slot streams what commits after this place.
    pub consistent_point: Lsn,
    /// The name of the snapshot, with [`SlotSnapshot::Export`].
    pub snapshot: Option<String>,
}

impl NewSlot {
    /// Describes a permanent slot of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            is_temporary: false,
            has_failover: false,
            snapshot: SlotSnapshot::Nothing,
            wait_limit: WAIT_LIMIT,
        }
    }

    /// Whether the server drops the slot when the connection ends.
    pub fn temporary(mut self, is_temporary: bool) -> Self {
        self.is_temporary = is_temporary;
        self
    }

    /// Whether the server synchronizes the slot to standbys, so that it survives a fail-over. PostgreSQL 17 and later.
    pub fn failover(mut self, has_failover: bool) -> Self {
        self.has_failover = has_failover;
        self
    }

    /// Sets what to do with the slot's snapshot.
    pub fn snapshot(mut self, snapshot: SlotSnapshot) -> Self {
        self.snapshot = snapshot;
        self
    }

    /// Limits how long to wait for the transactions that are open now, all of which must end first: 60 s, unless set.
    pub fn wait_limit(mut self, limit: Duration) -> Self {
        self.wait_limit = limit;
        self
    }

    pub(super) fn statement(&self, server_major: u32) -> Result<String, ReplicationError> {
        let name = quoting::slot_name(&self.name)?;
        let temporary = if self.is_temporary { " TEMPORARY" } else { "" };
        if self.has_failover && server_major < FAILOVER_SINCE {
            return Err(ReplicationError::unusable(format!(
                "PostgreSQL {server_major} can't synchronize slots for a fail-over; use PostgreSQL {FAILOVER_SINCE} or later, \
                 or a slot without failover"
            )));
        }
        let options = if server_major >= PARENTHESES_SINCE {
            let snapshot = match self.snapshot {
                SlotSnapshot::Nothing => "nothing",
                SlotSnapshot::Export => "export",
                SlotSnapshot::Use => "use",
            };
            let failover = if self.has_failover { ", FAILOVER" } else { "" };
            format!("(SNAPSHOT '{snapshot}'{failover})")
        } else {
            match self.snapshot {
                SlotSnapshot::Nothing => "NOEXPORT_SNAPSHOT",
                SlotSnapshot::Export => "EXPORT_SNAPSHOT",
                SlotSnapshot::Use => "USE_SNAPSHOT",
            }
            .to_owned()
        };
        Ok(format!("CREATE_REPLICATION_SLOT {name}{temporary} LOGICAL pgoutput {options}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_is_given_the_command_that_it_knows() {
        let slot = NewSlot::new("s").snapshot(SlotSnapshot::Export);
        assert_eq!(
            slot.statement(14).expect("a command"),
            "CREATE_REPLICATION_SLOT \"s\" LOGICAL pgoutput EXPORT_SNAPSHOT"
        );
        assert_eq!(
            slot.statement(15).expect("a command"),
            "CREATE_REPLICATION_SLOT \"s\" LOGICAL pgoutput (SNAPSHOT 'export')"
        );
        assert_eq!(
            slot.failover(true).temporary(true).statement(17).expect("a command"),
            "CREATE_REPLICATION_SLOT \"s\" TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export', FAILOVER)"
        );
    }

    #[test]
    fn what_cannot_be_is_refused_before_the_server_is_asked() {
        assert!(matches!(NewSlot::new("s").failover(true).statement(16), Err(ReplicationError::Unusable(_))));
        assert!(matches!(NewSlot::new("s\" x").statement(18), Err(ReplicationError::Unusable(_))));
    }
}
