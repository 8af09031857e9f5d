//! A replication slot drained by SQL: peek, publish, advance.
//!
//! ```text
//!  SlotPeek ──peek──▶ COPY (SELECT … pg_logical_slot_peek_binary_changes(…)) TO STDOUT ──next──▶ XLogData
//!     └────────advance──▶ pg_replication_slot_advance: what is durable may be forgotten
//! ```
//!
//! The walsender of the streaming protocol makes several system calls for each message, and they are what limits it. A
//! query's rows leave the server in buffers: a backlog comes about twice as fast this way. In exchange the
//! server decodes all that a call asks for before it gives the first of it, keeps it in memory up to `work_mem` and in
//! temporary files above that, and reads the log again from the slot's `restart_lsn` with each call. So this is for
//! backlogs; the [stream](super::replication) is for what happens now.
//!
//! It needs no replication connection, and so works through connection poolers. The role needs the attribute
//! REPLICATION all the same.

mod copy;
mod slot_peek;

pub use slot_peek::SlotPeek;
