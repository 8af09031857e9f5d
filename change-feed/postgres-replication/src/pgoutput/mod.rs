//! A decoder for the messages of pgoutput, PostgreSQL's output plug-in for logical replication.
//!
//! ```text
//!  payload of XLogData ─────────────────────────────┐
//!                                                   ├─▶ Message::decode ─▶ Message<'a> ─▶ Tuple ─▶ Datum
//!  column `data` of pg_logical_slot_peek_           │    everything is      borrows        the columns of
//!  binary_changes ──────────────────────────────────┘    checked here       the bytes      a row, in turn
//! ```
//!
//! Protocol version 1, as PostgreSQL 10 and later send it on request; the corpus of the tests comes from
//! 14, 15, 17 and 18. The format is described in PostgreSQL's documentation, chapter
//! ["Logical Replication Message Formats"](https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html);
//! where it leaves something open (unused bits, which tuple is sent when), `src/backend/replication/logical/proto.c`
//! and `src/backend/replication/pgoutput/pgoutput.c` decide.
//!
//! # Promises
//!
//! - No input makes it panic. An error names the message, the byte, and what was expected there, and never repeats the
//!   message's content.
//! - It accepts only what pgoutput writes: unknown flags, bytes after the end and unknown kinds of columns are errors. A
//!   program that guesses would see other changes than those that committed.
//! - It checks a row once, when it decodes the message, and borrows it: no allocation, no copy. Only a [`Relation`] is
//!   owned, because it outlives its message; its memory is in proportion to the message.
//! - In-progress streaming and two-phase commit (protocol versions 2 to 4) are not decoded. Their messages are
//!   [`DecodeError::NotAskedFor`].
//!
//! # The order of messages
//!
//! A transaction is `Begin`, perhaps `Origin`, its rows, `Commit`; transactions never overlap. PostgreSQL 14
//! also sends transactions of which nothing is published, as `Begin` and `Commit` alone. A [`Relation`] comes before the
//! relation's first row on a connection, and again after the relation was altered. A [`Type`] comes before a relation that
//! uses a type which is not built in. A
//! [`LogicalMessage`] that is not transactional comes outside of transactions, also when the transaction that wrote it
//! rolled back.

mod cursor;
mod error;
mod kind;
mod message;
mod relation;
mod row;
mod timestamp;
mod transaction;
mod tuple;

pub use error::DecodeError;
pub use kind::MessageKind;
pub use message::{LogicalMessage, Message};
pub use relation::{Column, Relation, ReplicaIdentity, Type};
pub use row::{Delete, Insert, OldTuple, RelationOids, Truncate, Update};
pub use timestamp::{Timestamp, TimestampOutOfRange};
pub use transaction::{Begin, Commit, Origin};
pub use tuple::{Columns, Datum, Tuple};
