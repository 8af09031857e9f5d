//! Decodes messages.

use super::cursor::Cursor;
use super::error::DecodeError;
use super::kind::MessageKind;
use super::relation::{Relation, Type};
use super::row::{Delete, Insert, Truncate, Update};
use super::transaction::{Begin, Commit, Origin};
use crate::lsn::Lsn;

/// A message of pgoutput's protocol version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A transaction begins.
    Begin(Begin),
    /// The transaction ends.
    Commit(Commit),
    /// The transaction was replicated from another server.
    Origin(Origin<'a>),
    /// The columns of a relation, before its first row and whenever they changed.
    Relation(Relation),
    /// The name of a type that a relation uses and that is not built in.
    Type(Type<'a>),
    /// A row was inserted.
    Insert(Insert<'a>),
    /// A row was updated.
    Update(Update<'a>),
    /// A row was deleted.
    Delete(Delete<'a>),
    /// Relations were truncated.
    Truncate(Truncate<'a>),
    /// A program's own message.
    Logical(LogicalMessage<'a>),
}

impl<'a> Message<'a> {
    /// Decodes a message: the payload of one `XLogData`, or one `data` of
    /// `pg_logical_slot_peek_binary_changes`.
    ///
    /// Names must be UTF-8, so the connection's `client_encoding` must be UTF-8 too. Values are not checked.
    ///
    /// ```
    /// use postgres_replication::pgoutput::Message;
    ///
    /// let bytes = b"B\0\0\0\x16\xb3\x74\xd8\x48\0\x02\x7d\x4a\xc9\x2c\x10\0\0\0\x02\xe6";
    /// let Message::Begin(begin) = Message::decode(bytes)? else { unreachable!() };
    /// assert_eq!((begin.final_lsn.to_string().as_str(), begin.xid), ("16/B374D848", 742));
    ///
    /// let error = Message::decode(&bytes[..12]).unwrap_err();
    /// assert_eq!(error.to_string(), "Begin ends too early: expected the commit timestamp (Int64) at byte 9");
    /// # Ok::<(), postgres_replication::pgoutput::DecodeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails unless the bytes are exactly one message of protocol version 1.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (&tag, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
        let kind = MessageKind::of(tag).ok_or(DecodeError::Unknown { tag })?;
        let mut cursor = Cursor::after_tag(kind, rest);
        let message = match kind {
            MessageKind::Insert => Self::Insert(Insert::decode(&mut cursor)?),
            MessageKind::Update => Self::Update(Update::decode(&mut cursor)?),
            MessageKind::Delete => Self::Delete(Delete::decode(&mut cursor)?),
            MessageKind::Begin => Self::Begin(Begin::decode(&mut cursor)?),
            MessageKind::Commit => Self::Commit(Commit::decode(&mut cursor)?),
            MessageKind::Origin => Self::Origin(Origin::decode(&mut cursor)?),
            MessageKind::Relation => Self::Relation(Relation::decode(&mut cursor)?),
            MessageKind::Type => Self::Type(Type::decode(&mut cursor)?),
            MessageKind::Truncate => Self::Truncate(Truncate::decode(&mut cursor)?),
            MessageKind::Logical => Self::Logical(LogicalMessage::decode(&mut cursor)?),
            MessageKind::StreamStart
            | MessageKind::StreamStop
            | MessageKind::StreamCommit
            | MessageKind::StreamAbort
            | MessageKind::BeginPrepare
            | MessageKind::Prepare
            | MessageKind::CommitPrepared
            | MessageKind::RollbackPrepared
            | MessageKind::StreamPrepare => return Err(DecodeError::NotAskedFor { message: kind }),
        };
        cursor.finish()?;
        Ok(message)
    }
}

/// A message that a program wrote into the log (`pg_logical_emit_message`); sent with the option
/// `messages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogicalMessage<'a> {
    /// Whether it belongs to a transaction, which has committed. A message that does not was written at once, perhaps by a
    /// transaction that rolled back.
    pub transactional: bool,
    /// Its place in the log.
    pub lsn: Lsn,
    /// The prefix that the writer chose, to tell readers whose message it is.
    pub prefix: &'a str,
    /// The content that the writer chose.
    pub content: &'a [u8],
}

impl<'a> LogicalMessage<'a> {
    fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        const FLAGS: &str = "flags (Int8: 0, or 1 for transactional)";
        let transactional = match cursor.u8(FLAGS)? {
            0 => false,
            1 => true,
            _ => return Err(cursor.unexpected(1, FLAGS)),
        };
        let lsn = Lsn::new(cursor.u64("the LSN of the message (Int64)")?);
        let prefix = cursor.text("the prefix (String)")?;
        let size_bytes = cursor.count("the length of the content (Int32, not negative)")?;
        let content = cursor.bytes(size_bytes, "a content of the stated length")?;
        Ok(Self { transactional, lsn, prefix, content })
    }
}
