//! The begin and the end of a transaction.

use super::cursor::Cursor;
use super::error::DecodeError;
use super::timestamp::Timestamp;
use crate::lsn::Lsn;

/// A transaction begins. It has committed already: pgoutput sends only such transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Where its commit record begins: the same as the [`Commit::commit_lsn`] at its end.
    pub final_lsn: Lsn,
    /// When it committed, by the server's clock. Timestamps do not follow the order of commits.
    pub committed_at: Timestamp,
    /// Its id: the lower half of `xid8`, which wraps.
    pub xid: u32,
}

impl Begin {
    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            final_lsn: Lsn::new(cursor.u64("the LSN of the commit (Int64)")?),
            committed_at: Timestamp::from_us(cursor.i64("the commit timestamp (Int64)")?),
            xid: cursor.u32("the transaction id (Int32)")?,
        })
    }
}

/// The transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record begins.
    pub commit_lsn: Lsn,
    /// Where the commit record ends: what a consumer confirms once the transaction is durable, and where it goes on.
    pub end_lsn: Lsn,
    /// When it committed, by the server's clock.
    pub committed_at: Timestamp,
}

impl Commit {
    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        const FLAGS: &str = "flags (Int8, always 0)";
        if cursor.u8(FLAGS)? != 0 {
            return Err(cursor.unexpected(1, FLAGS));
        }
        Ok(Self {
            commit_lsn: Lsn::new(cursor.u64("the LSN of the commit (Int64)")?),
            end_lsn: Lsn::new(cursor.u64("the end LSN of the transaction (Int64)")?),
            committed_at: Timestamp::from_us(cursor.i64("the commit timestamp (Int64)")?),
        })
    }
}

/// The transaction was replicated from another server; sent after [`Begin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The place of its commit in the log of the other server.
    pub commit_lsn: Lsn,
    /// This server's name for the other one (`pg_replication_origin_create`).
    pub name: &'a str,
}

impl<'a> Origin<'a> {
    pub(super) fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            commit_lsn: Lsn::new(cursor.u64("the LSN of the commit at the origin (Int64)")?),
            name: cursor.text("the name of the origin (String)")?,
        })
    }
}
