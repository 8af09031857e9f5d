//! Pollers that people write, and that lose or reorder: kept to show that the load is hard enough.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::postgres_poll::world::Version;

/// A way to poll an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `sequence > last`.
    AfterTheLastNumber,
    /// `(transaction id, sequence) > last`, of what the present snapshot sees.
    AfterTheLastTransaction,
    /// Below the snapshot's xmin, by transaction id and sequence: it loses nothing, but it inverts, and waits for any
    /// transaction of the server.
    BelowTheOldestTransaction,
}

impl Way {
    pub(crate) const ALL: [Way; 3] =
        [Way::AfterTheLastNumber, Way::AfterTheLastTransaction, Way::BelowTheOldestTransaction];

    fn statement(self) -> &'static str {
        match self {
            Self::AfterTheLastNumber => {
                "select cart_id, version, sequence, 0::bigint from cart_events
                where $1 = 0 and sequence > $2 order by sequence"
            }
            Self::AfterTheLastTransaction => {
                "select cart_id, version, sequence, transaction_id::text::bigint from cart_events
                where (transaction_id, sequence) > ($1::text::xid8, $2)
                    and pg_visible_in_snapshot(transaction_id, pg_current_snapshot())
                order by transaction_id, sequence"
            }
            Self::BelowTheOldestTransaction => {
                "select cart_id, version, sequence, transaction_id::text::bigint from cart_events
                where (transaction_id, sequence) > ($1::text::xid8, $2)
                    and transaction_id < pg_snapshot_xmin(pg_current_snapshot())
                order by transaction_id, sequence"
            }
        }
    }
}

/// A poller that goes one of these ways.
pub(crate) struct UnsafePoller {
    pub(crate) way: Way,
    connection: PgConnection,
    last: (i64, i64),
    pub(crate) given: Vec<Version>,
}

impl UnsafePoller {
    pub(crate) fn new(way: Way, connection: PgConnection) -> Self {
        Self { way, connection, last: (0, 0), given: Vec::new() }
    }

    /// Looks once, and tells how much it found.
    pub(crate) async fn poll(&mut self) -> Result<usize, sqlx::Error> {
        let (transaction, sequence) = self.last;
        let rows: Vec<(Uuid, i64, i64, i64)> = sqlx::query_as(self.way.statement())
            .bind(transaction)
            .bind(sequence)
            .fetch_all(&mut self.connection)
            .await?;
        for &(cart, version, sequence, transaction) in &rows {
            self.last = (transaction, sequence);
            self.given.push(Version { cart, version: version.unsigned_abs() });
        }
        Ok(rows.len())
    }
}
