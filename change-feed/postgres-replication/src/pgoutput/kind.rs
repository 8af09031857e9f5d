//! The kinds of messages, by their first byte.

use std::fmt;

/// The kind of a message, in any version of pgoutput's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageKind {
    /// `B`: a transaction begins.
    Begin,
    /// `C`: the transaction ends; it has committed.
    Commit,
    /// `O`: the transaction came here by replication from another server.
    Origin,
    /// `R`: the columns of a relation.
    Relation,
    /// `Y`: the name of a type that is not built in.
    Type,
    /// `I`: a row was inserted.
    Insert,
    /// `U`: a row was updated.
    Update,
    /// `D`: a row was deleted.
    Delete,
    /// `T`: relations were truncated.
    Truncate,
    /// `M`: a program's own message (`pg_logical_emit_message`).
    Logical,
    /// `S`: protocol version 2, a block of a transaction in progress begins.
    StreamStart,
    /// `E`: protocol version 2, the block ends.
    StreamStop,
    /// `c`: protocol version 2, a transaction that was streamed has committed.
    StreamCommit,
    /// `A`: protocol version 2, a transaction that was streamed is rolled back.
    StreamAbort,
    /// `b`: protocol version 3, a transaction that will be prepared begins.
    BeginPrepare,
    /// `P`: protocol version 3, the transaction is prepared.
    Prepare,
    /// `K`: protocol version 3, a prepared transaction has committed.
    CommitPrepared,
    /// `r`: protocol version 3, a prepared transaction is rolled back.
    RollbackPrepared,
    /// `p`: protocol version 3, a transaction that was streamed is prepared.
    StreamPrepare,
}

impl MessageKind {
    /// Returns the kind with this first byte, if there is one.
    pub const fn of(tag: u8) -> Option<Self> {
        Some(match tag {
            b'B' => Self::Begin,
            b'C' => Self::Commit,
            b'O' => Self::Origin,
            b'R' => Self::Relation,
            b'Y' => Self::Type,
            b'I' => Self::Insert,
            b'U' => Self::Update,
            b'D' => Self::Delete,
            b'T' => Self::Truncate,
            b'M' => Self::Logical,
            b'S' => Self::StreamStart,
            b'E' => Self::StreamStop,
            b'c' => Self::StreamCommit,
            b'A' => Self::StreamAbort,
            b'b' => Self::BeginPrepare,
            b'P' => Self::Prepare,
            b'K' => Self::CommitPrepared,
            b'r' => Self::RollbackPrepared,
            b'p' => Self::StreamPrepare,
            _ => return None,
        })
    }

    /// Returns the name in PostgreSQL's documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begin => "Begin",
            Self::Commit => "Commit",
            Self::Origin => "Origin",
            Self::Relation => "Relation",
            Self::Type => "Type",
            Self::Insert => "Insert",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::Truncate => "Truncate",
            Self::Logical => "Message",
            Self::StreamStart => "Stream Start",
            Self::StreamStop => "Stream Stop",
            Self::StreamCommit => "Stream Commit",
            Self::StreamAbort => "Stream Abort",
            Self::BeginPrepare => "Begin Prepare",
            Self::Prepare => "Prepare",
            Self::CommitPrepared => "Commit Prepared",
            Self::RollbackPrepared => "Rollback Prepared",
            Self::StreamPrepare => "Stream Prepare",
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
