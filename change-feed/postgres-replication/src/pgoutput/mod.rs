//! The messages of pgoutput, PostgreSQL's output plug-in for logical replication: bytes in, messages out.
//!
//! ```text
//!  payload of XLogData ─────────────────────────────┐
//!                                                   ├─▶ Message::decode ─▶ Message<'a> ─▶ Tuple ─▶ Datum
//!  column `data` of pg_logical_slot_peek_           │    everything is      borrows        the columns of
//!  binary_changes ──────────────────────────────────┘    checked here       the bytes      a row, in turn
//! ```
//!
//! Protocol version 1, as PostgreSQL 10 and later send it when version 1 is asked for; the corpus of the tests
//! comes from 14, 15, 17 and 18. The format is described in PostgreSQL's documentation, chapter
//! ["Logical Replication Message Formats"](https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html);
//! where that is silent (bits that are unused, which tuple comes when), `src/backend/replication/logical/proto.c`
//! and `src/backend/replication/pgoutput/pgoutput.c` decide.
//!
//! # Promises
//!
//! - No input panics. What is not a message is an error that says which message, at which byte, and what was
//!   expected there, and never repeats the bytes.
//! - Nothing is read that pgoutput would not write: unknown flags, bytes after the end and unknown kinds of columns
//!   are errors. A feed that guesses would publish something else than what committed.
//! - Rows are checked once, when they are decoded, and are borrowed: no allocation, no copy. Only a [`Relation`] is
//!   owned, since it outlives its message; it takes memory in proportion to the message.
//! - In-progress streaming and two-phase commit (protocol versions 2 to 4) are not decoded: one publisher has one
//!   open transaction. Their messages are [`DecodeError::NotAskedFor`].
//!
//! # Who sends what when
//!
//! A transaction is `Begin`, perhaps `Origin`, its rows, `Commit`; transactions never overlap. PostgreSQL 14 also
//! sends those of which nothing is published, empty. A relation's [`Relation`] comes before its first row on a connection and again after it was altered;
//! [`Type`] comes before a relation that uses a type which is not built in. A [`LogicalMessage`] that is not
//! transactional stands outside of transactions, also when the transaction that wrote it rolled back.

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
