//! Logical decoding: committed changes from PostgreSQL's write-ahead log, through its output plug-in
//! pgoutput.
//!
//! ```text
//!  log:  … ─ row of a ─ row of b ─ row of a ─ COMMIT b ─ row of a ─ COMMIT a ─ …
//!            the server puts transactions together, and leaves out what rolled back
//!  slot ──walsender──▶ Begin ─ rows ─ Commit  ──assembler──▶ changes ─▶ relay ─▶ publisher
//!    ▲                                                                             │ durable
//!    └── confirm ◀── change_feed.feeds ◀───────────── acknowledge ─────────────────┘
//! ```
//!
//! A **replication slot** keeps the server's log from where the feed is. The server decodes it and sends each transaction
//! when it has committed, whole, in the order of the commits. Nothing is polled, and an idle feed costs nothing.
//!
//! - **L**: the slot gives everything from the feed's position on, or the feed does not start: see *Failing closed*.
//! - **P**: only what committed *and is on the disk of the server* is sent. A fail-over to a standby that lacks the last
//!   commits can still take back what was given, unless the slot is synchronized (PostgreSQL 17).
//! - **O**: transactions come in the order of their commits, and their rows in the order of the statements. Of two changes
//!   of one row, the later one waited for the earlier one's commit.
//! - **A**: a transaction comes whole, in pieces that [continue](crate::feed::part::End::Continues) if it is large. Above
//!   [`max_transaction_rows`](LogicalSourceBuilder::max_transaction_rows) or
//!   [`max_transaction_duration`](LogicalSourceBuilder::max_transaction_duration) it is split: each part is complete at a
//!   position of its own, and the last change of each part but the last [names its part](crate::feed::transaction::TransactionPlace::part).
//! - What is captured: rows inserted into [outboxes](LogicalSourceBuilder::outbox) as events, all changes of the rows of
//!   [tables](LogicalSourceBuilder::tables), and [messages](LogicalSourceBuilder::messages). A change of the columns that
//!   identify a row comes as a delete and an insert. What else the publication holds is ignored.
//!
//! # Positions
//!
//! `1l-<place in the log>-<changes>-<timeline>`: between transactions, the end of a commit record and 0; within a
//! transaction that was split, the begin of its commit record and the number of its changes that have been given (and in
//! the tail the part and a checksum of what is captured: to go on there, a feed must capture the same). The
//! change with index i of a transaction is at the begin of its commit record and i + 1.
//!
//! A position is acknowledged to the table `change_feed.feeds` first, and then to the slot: so the slot is never ahead of
//! the table, and a slot that is was moved or made anew by somebody else. While nothing is captured, the position moves
//! when the log has grown by 64 KiB, at most once a second: an idle feed in a busy cluster holds back no log.
//!
//! # What it needs
//!
//! - PostgreSQL 14 or later with `wal_level = logical`, a primary, and a connection to the server itself: poolers pass no
//!   replication.
//! - A role with REPLICATION. It needs no right on the tables, but the table `change_feed.feeds`, which it makes if
//!   it may.
//! - A publication of the captured tables, and a slot: made by their owner, or by the feed
//!   ([`create`](LogicalSourceBuilder::create)).
//! - Tables whose rows have a whole key that is published: a primary key that is not deferrable, or the index of a replica
//!   identity, the same in every partition. Without one, publishing would make the application's updates and deletes fail, or
//!   two rows would share a key. A table that can't be captured is refused before anything is made.
//! - Three connections, one of them a walsender (`max_wal_senders`, `max_replication_slots`).
//!
//! The slot keeps the log until the feed has acknowledged it: `max_slot_wal_keep_size` bounds that, at the price that a feed
//! that is down for too long can't go on.
//!
//! # Failing closed
//!
//! [`SourceError::Closed`](crate::source::SourceError::Closed), with what is wrong and what to do: the slot is missing, begins after
//! the position, was invalidated, belongs to another plug-in, database or program; the server is another
//! one, or came from a timeline that left the feed's before its position; the publication is missing, was dropped and made
//! anew, lacks a table or an operation, or filters an outbox; a table has no key, or its partitions identify their rows in different ways; a row can't be told, once everything before it is given; the role may not replicate; `wal_level` is too low. The set-up
//! is checked before the start and every ten seconds, without waiting for any lock on a table. A captured table that is renamed is given under its configured name
//! until then. What is *not* noticed: a table that is taken out of the publication and
//! put back between two looks.

pub(crate) mod assembler;
pub(crate) mod builder;
pub(crate) mod capture_fault;
pub(crate) mod catalog_key;
pub(crate) mod catalog_table;
pub(crate) mod clean_up;
mod keeping;
pub(crate) mod log_position;
pub(crate) mod logical_messages;
pub(crate) mod outbox_lookup;
pub(crate) mod outbox_rows;
pub(crate) mod publication;
pub(crate) mod selection;
pub(crate) mod server_state;
pub(crate) mod setup;
pub(crate) mod slot;
pub(crate) mod slot_creation;
pub(crate) mod source;
pub(crate) mod streaming;
pub(crate) mod table_checks;
pub(crate) mod tables;
pub(crate) mod transaction_ids;

/// The kind of source that the identity of its feeds names.
const KIND: &str = "postgres-logical";

pub use builder::LogicalSourceBuilder;
pub use capture_fault::CaptureFault;
pub use source::LogicalSource;
