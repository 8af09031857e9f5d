//! What the log can hold that a feed can't publish.

use uuid::Uuid;

use crate::feed::row::InvalidRow;
use crate::postgres::mismatch::unfit;
use crate::source::SourceError;

use postgres_replication::Lsn;
use postgres_replication::pgoutput::DecodeError;
use postgres_replication::pgoutput::TimestampOutOfRange;

/// What the log can hold that a feed can't publish. It names places and columns, and never a value.
///
/// None of them goes away when the same log is read again. What is whole before it is given; then the feed fails closed, since it
/// would else lose a change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureFault {
    /// The bytes are no message of pgoutput.
    #[error("the message of pgoutput is not understood")]
    Decode(#[from] DecodeError),
    /// Messages came in an order in which pgoutput doesn't send them.
    #[error("pgoutput sent {0}")]
    Order(&'static str),
    /// A commit timestamp that no calendar date has.
    #[error("the commit timestamp is out of range")]
    Time(#[from] TimestampOutOfRange),
    /// A row in a form that is not understood.
    #[error("a row of {table} can't be read")]
    Row {
        /// The table.
        table: String,
        /// Why.
        #[source]
        source: InvalidRow,
    },
    /// An outbox lacks a column, or the publication leaves it out.
    #[error("outbox {outbox}: the log does not carry its column {column}")]
    OutboxColumn {
        /// The outbox.
        outbox: String,
        /// The column.
        column: String,
    },
    /// A row of an outbox is not a valid event.
    #[error("outbox {outbox}: invalid {column} of the event {}, in the transaction that commits at {commit}; everything before it is \
             published", event_id.map_or_else(|| "without id".to_owned(), |id| id.to_string()))]
    Event {
        /// The outbox.
        outbox: String,
        /// The row's event, where its id can be read.
        event_id: Option<Uuid>,
        /// The column.
        column: &'static str,
        /// The commit record of its transaction.
        commit: Lsn,
    },
    /// A message with the feed's prefix is not a valid event.
    #[error(
        "the message at {lsn} with the prefix {prefix:?} is not a valid event: {what}; everything before it is published"
    )]
    Message {
        /// Its place in the log.
        lsn: Lsn,
        /// Its prefix.
        prefix: String,
        /// What is wrong with it.
        what: String,
    },
    /// The feed goes on within a transaction that it gives in parts, and captures other tables than it did.
    #[error("the feed captures other tables now, and has given a part of the transaction that commits at {commit}")]
    CapturesChanged {
        /// The commit record of the transaction.
        commit: Lsn,
    },
    /// The log carries a row without a part of its key.
    #[error("a row of {table} comes without a value of {column}, which is part of its key")]
    KeyIncomplete {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Nothing tells the rows of a table apart.
    #[error("{table} has no key: neither a primary key nor the index of a replica identity")]
    NoKey {
        /// The table.
        table: String,
    },
}

impl CaptureFault {
    /// What to do about it.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Decode(_) | Self::Order(_) | Self::Time(_) | Self::Row { .. } => {
                "use PostgreSQL 14 to 18 with its own plug-in pgoutput; if it is, report this as a fault of change-feed"
            }
            Self::OutboxColumn { .. } => {
                "give the outbox the columns that change_feed::outbox::Guard makes, and publish it without a column list"
            }
            Self::Event { .. } | Self::Message { .. } => {
                "correct its writer; the log keeps what is written: to go on past it, start a feed under a new name"
            }
            Self::CapturesChanged { .. } => {
                "let the feed capture what it did until it is past that transaction, and change it then"
            }
            Self::KeyIncomplete { .. } => {
                "give the table and all of its partitions one replica identity whose columns are published and not null; the \
                 log keeps what is written: to go on past it, start a feed under a new name"
            }
            Self::NoKey { .. } => "give the table a primary key, or leave it out of the feed",
        }
    }
}

impl From<CaptureFault> for SourceError {
    fn from(fault: CaptureFault) -> Self {
        let (what, remedy) = (fault.to_string(), fault.remedy().to_owned());
        let what = match std::error::Error::source(&fault) {
            Some(cause) => format!("{what}: {cause}"),
            None => what,
        };
        unfit(what, remedy)
    }
}
