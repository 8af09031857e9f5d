//! The frames of a replication stream.

use std::fmt;

use bytes::{Buf as _, Bytes};

use crate::error::ReplicationError;
use crate::lsn::Lsn;

/// Kind, start, end, time: *XLogData* in *Streaming Replication Protocol*.
const DATA_HEADER_BYTES: usize = 1 + 8 + 8 + 8;
/// Kind, end, time, flag: *Primary keepalive message*.
const KEEPALIVE_BYTES: usize = 1 + 8 + 8 + 1;

/// A frame of a replication stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message of the output plug-in.
    Data(XLogData),
    /// A message without a change, by which the server shows that it is alive.
    Keepalive(Keepalive),
}

/// A message of the output plug-in.
#[derive(Clone, PartialEq, Eq)]
pub struct XLogData {
    /// The place of the change in the log; for a Commit, the end of the commit record. [`Lsn::INVALID`] for a message that
    /// only describes a table or a type.
    pub wal_start: Lsn,
    /// The same as `wal_start` with logical decoding.
    pub wal_end: Lsn,
    /// The message, a slice of a buffer with all messages that came with it, up to 256 KiB of them. A slice keeps
    /// the whole buffer alive, so copy what you keep for long.
    pub data: Bytes,
}

impl fmt::Debug for XLogData {
    /// Without the payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wal_start, wal_end, data } = self;
        f.debug_struct("XLogData")
            .field("wal_start", wal_start)
            .field("wal_end", wal_end)
            .field("bytes", &data.len())
            .finish()
    }
}

/// A message by which the server shows that it is alive, and how far it has read its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// The server has read its log through this place, and has sent all changes of the slot before it.
    pub wal_end: Lsn,
    /// Whether the server asked for an answer. The stream has answered already.
    pub reply_requested: bool,
}

/// The head of a frame, before its payload.
#[derive(Debug, Clone, Copy)]
pub(super) enum Head {
    Data { wal_start: Lsn, wal_end: Lsn },
    Keepalive(Keepalive),
}

impl Head {
    /// Reads the head from the body of a CopyData message of a walsender; `None` if it is neither data nor a keepalive.
    #[inline]
    pub(super) fn read(mut body: &[u8]) -> Option<Self> {
        match body.first() {
            Some(b'w') if body.len() >= DATA_HEADER_BYTES => {
                body.advance(1);
                Some(Self::Data { wal_start: body.get_u64().into(), wal_end: body.get_u64().into() })
            }
            Some(b'k') if body.len() == KEEPALIVE_BYTES => {
                body.advance(1);
                let wal_end = body.get_u64().into();
                body.advance(8);
                Some(Self::Keepalive(Keepalive { wal_end, reply_requested: body.get_u8() != 0 }))
            }
            _ => None,
        }
    }
}

impl Frame {
    /// Reads the body of a CopyData message of a walsender.
    #[inline]
    pub(super) fn read(mut body: Bytes) -> Result<Self, ReplicationError> {
        match Head::read(&body) {
            Some(Head::Data { wal_start, wal_end }) => {
                body.advance(DATA_HEADER_BYTES);
                Ok(Self::Data(XLogData { wal_start, wal_end, data: body }))
            }
            Some(Head::Keepalive(keepalive)) => Ok(Self::Keepalive(keepalive)),
            None => Err(ReplicationError::protocol("a frame of the stream is neither data nor a keepalive")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_and_keepalives_are_read() {
        let mut data = vec![b'w'];
        data.extend_from_slice(&7_u64.to_be_bytes());
        data.extend_from_slice(&9_u64.to_be_bytes());
        data.extend_from_slice(&[0; 8]);
        data.extend_from_slice(b"payload");
        let expected = XLogData { wal_start: Lsn::new(7), wal_end: Lsn::new(9), data: Bytes::from_static(b"payload") };
        assert_eq!(Frame::read(data.into()).expect("data"), Frame::Data(expected.clone()));
        assert!(!format!("{expected:?}").contains("payload"));

        let mut keepalive = vec![b'k'];
        keepalive.extend_from_slice(&5_u64.to_be_bytes());
        keepalive.extend_from_slice(&[0; 8]);
        keepalive.push(1);
        let expected = Keepalive { wal_end: Lsn::new(5), reply_requested: true };
        assert_eq!(Frame::read(keepalive.into()).expect("a keepalive"), Frame::Keepalive(expected));
    }

    #[test]
    fn what_is_cut_short_or_of_another_kind_is_refused() {
        for body in [&b""[..], b"w", b"k", b"x1234567", &[b'w'; 24], &[b'k'; 17], &[b'k'; 19]] {
            assert!(Frame::read(Bytes::copy_from_slice(body)).is_err(), "{body:?}");
        }
    }
}
