//! PostgreSQL without replication rights: an outbox, polled by the difference of snapshots.
//!
//! ```text
//!  transactions, by their ids     → → → → → → → → → → →
//!  snapshot n      sees           ███████████░░██░███          ░ still running
//!  snapshot n + 1  sees           █████████████████████░████░
//!  window n + 1    =                         ▒▒  ▒   ▒▒ ▒▒▒▒
//! ```
//!
//! A poll asks for the server's snapshot, which names the transactions that have ended. The **window** is what this
//! snapshot sees and the last one didn't: the rows of exactly those transactions, looked up by their ids. It
//! doesn't matter in which order transactions began, drew their numbers or how long they took.
//!
//! - **L**: a transaction that was running at one snapshot is in the window of the first snapshot after its end.
//!   A sequence number or transaction id that was passed over is never needed again.
//! - **O**: of two changes of one aggregate, the later one waited for the earlier one's commit, so no snapshot sees it alone;
//!   within a window the sequence, drawn under the aggregate's lock, puts them in order.
//! - **P**: a row is given only when its commit is on the server's disk, also where writers use
//!   `synchronous_commit = off`. A fail-over to a standby that lacks the last commits can still take back what was given.
//! - **A**: a window holds whole transactions, and is given as one up to
//!   [`max_window_rows`](PostgresPollSourceBuilder::max_window_rows) rows and
//!   [`max_page_bytes`](PostgresPollSourceBuilder::max_page_bytes). Above, it comes in pages that are each complete at a position
//!   of their own, in the order of the sequence: there transactions are split and mixed. Index and count of each
//!   change in its transaction stay right.
//! - Transactions that run long, anywhere in the cluster, delay nobody but themselves, and what they have
//!   written so far is not even read.
//!
//! # Positions
//!
//! `1p-<window>-<sequence>`, and as the tail what it takes to go on: the snapshots, and the sequence and id of the last
//! event. That is about sixty bytes, and up to twenty for each transaction that was running, of which there is at most one
//! for each connection that the server allows.
//!
//! A position survives a crash of the server. A snapshot as the server gives it does not: it counts transactions whose
//! log is not on the disk, and their ids are given out again after the crash. So positions claim to have seen no
//! transaction above the highest that has given a row, and rows are given only when their commit is on the disk.
//!
//! # What it needs
//!
//! SELECT on the outbox, and the table `change_feed.feeds`, which it makes if it may. A role that may not gets the
//! SQL for an owner to run in the error. A primary: a standby's snapshots don't name the transactions that are running. A direct
//! connection, or a pooler in session mode. PostgreSQL 14 or later.
//!
//! An older state of the database, restored or failed over to, is noticed at the start where its transaction ids or its
//! sequence end before the position, or has another event in the place of the last one: then the feed fails closed. A state that lost
//! commits and has none of these marks is not noticed. A copied database (dump and restore, template, `pg_upgrade`, a
//! logical replica) has another identity, and the feed fails closed. Rows that were copied together with their
//! `transaction_id` from another server are refused where that transaction has not begun here.

pub(crate) mod builder;
pub(crate) mod inspection;
pub(crate) mod limits;
pub(crate) mod poll_progress;
pub(crate) mod poll_session;
pub(crate) mod row;
pub(crate) mod snapshot;
pub(crate) mod source;
pub(crate) mod statements;
pub(crate) mod transactions;
pub(crate) mod window_reader;
pub(crate) mod worker;

/// The kind of source that the identity of its feeds names.
const KIND: &str = "postgres-poll";

pub use builder::PostgresPollSourceBuilder;
pub use source::PostgresPollSource;
