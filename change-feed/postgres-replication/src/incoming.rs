//! What the server sends, as messages.

use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use postgres_protocol::message::backend::{Header, Message};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::error::ReplicationError;

/// One read asks for up to so much.
const BUFFER_BYTES: usize = 256 << 10;
/// With less room than this a new buffer begins, so that reads stay large.
const ROOM_BYTES_MIN: usize = 64 << 10;
/// PostgreSQL builds no message above its `MaxAllocSize`. A larger length is the sign of another protocol.
const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// Tag and length.
const HEADER_BYTES: usize = 5;

/// Reads messages through one buffer, of which they are slices.
///
/// The buffer is used again as soon as no slice of it is left; until then another takes its place. It holds
/// what one read gave, or one message if that is larger.
pub(super) struct Incoming<R> {
    reader: R,
    buffer: BytesMut,
    /// The buffer has grown for one large message.
    is_oversized: bool,
}

impl<R> Incoming<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: BytesMut::with_capacity(BUFFER_BYTES), is_oversized: false }
    }

    pub(super) fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    pub(super) fn get_ref(&self) -> &R {
        &self.reader
    }

    /// The bytes that are here and not taken.
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The same bytes, and another reader for what follows.
    pub(super) fn split<S, T>(self, split: impl FnOnce(R) -> (S, T)) -> (Incoming<S>, T) {
        let (reader, other) = split(self.reader);
        (Incoming { reader, buffer: self.buffer, is_oversized: self.is_oversized }, other)
    }

    /// The tag of the next message, if the whole of it is here.
    #[inline]
    pub(super) fn tag(&self) -> Result<Option<u8>, ReplicationError> {
        Ok(self.whole()?.map(|(tag, _)| tag))
    }

    /// The next message as tag and body, if the whole of it is here.
    #[inline]
    pub(super) fn take(&mut self) -> Result<Option<(u8, Bytes)>, ReplicationError> {
        let Some((tag, length)) = self.whole()? else {
            return Ok(None);
        };
        let mut message = self.buffer.split_to(length).freeze();
        message.advance(HEADER_BYTES);
        Ok(Some((tag, message)))
    }

    /// The next message, understood, if the whole of it is here.
    pub(super) fn parse(&mut self) -> Result<Option<Message>, ReplicationError> {
        if self.whole()?.is_none() {
            return Ok(None);
        }
        Message::parse(&mut self.buffer).map_err(|error| ReplicationError::protocol(error.to_string()))
    }

    /// Tag and length of the next message with its header, if the whole of it is here.
    #[inline]
    fn whole(&self) -> Result<Option<(u8, usize)>, ReplicationError> {
        let malformed = || ReplicationError::protocol("a message of an impossible length; is this PostgreSQL?");
        let Some(header) = Header::parse(&self.buffer).map_err(|_| malformed())? else {
            return Ok(None);
        };
        // Header::parse has refused what is negative.
        let length = 1 + usize::try_from(header.len()).map_err(|_| malformed())?;
        if length > MESSAGE_BYTES_MAX {
            return Err(malformed());
        }
        Ok((self.buffer.len() >= length).then_some((header.tag(), length)))
    }

    /// Makes room for a read that is worth a system call. An unfinished message lets the buffer grow only as fast as it
    /// comes, whatever length it claims.
    fn make_room(&mut self) {
        if self.is_oversized && self.buffer.len() < ROOM_BYTES_MIN {
            let mut fresh = BytesMut::with_capacity(BUFFER_BYTES);
            fresh.extend_from_slice(&self.buffer);
            self.buffer = fresh;
            self.is_oversized = false;
        }
        if self.buffer.capacity() - self.buffer.len() < ROOM_BYTES_MIN {
            let wanted = BUFFER_BYTES.max(self.buffer.len());
            self.buffer.reserve(wanted);
            self.is_oversized |= wanted > BUFFER_BYTES;
        }
    }
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// Reads once. Nothing is lost when the caller gives up waiting.
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.make_room();
        // The future has no state of its own: each poll is one read.
        pin!(self.reader.read_buf(&mut self.buffer)).poll(context).map(|read| match read? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        })
    }

    /// Reads once. Nothing is lost when the future is dropped.
    pub(super) async fn fill(&mut self) -> Result<(), ReplicationError> {
        let filled = std::future::poll_fn(|context| self.poll_fill(context)).await;
        filled.map_err(|error| ReplicationError::lost("reading from the server failed", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
        [&[tag][..], &length, body].concat()
    }

    #[tokio::test]
    async fn messages_are_whole_however_they_come() {
        let bytes = [message(b'd', b"one"), message(b'C', b""), message(b'd', &[7; 1_000])].concat();
        for step in [1, 3, 5, 700] {
            let (mut server, ours) = tokio::io::duplex(1 << 16);
            let mut incoming = Incoming::new(ours);
            let mut taken = Vec::new();
            for piece in bytes.chunks(step) {
                tokio::io::AsyncWriteExt::write_all(&mut server, piece).await.expect("room");
                incoming.fill().await.expect("bytes");
                while let Some((tag, body)) = incoming.take().expect("a message") {
                    taken.push((tag, body.len()));
                }
            }
            assert_eq!(taken, [(b'd', 3), (b'C', 0), (b'd', 1_000)], "in pieces of {step}");
        }
    }

    #[tokio::test]
    async fn the_end_of_the_connection_is_an_error_that_may_pass() {
        let (server, ours) = tokio::io::duplex(64);
        drop(server);
        let error = Incoming::new(ours).fill().await.expect_err("nobody is there");
        assert!(error.is_transient(), "{error:?}");
    }

    #[tokio::test]
    async fn an_impossible_length_is_refused_and_a_large_one_takes_no_room_before_it_comes() {
        for length in [0, 3, u32::MAX, 1 << 31, 1 << 30] {
            let bytes = [&b"d"[..], &u32::to_be_bytes(length)].concat();
            let mut incoming = Incoming::new(&bytes[..]);
            incoming.fill().await.expect("bytes");
            assert!(matches!(incoming.take(), Err(ReplicationError::Protocol(_))), "{length}");
        }
        let bytes = [&b"d"[..], &(1_u32 << 29).to_be_bytes()].concat();
        let mut incoming = Incoming::new(&bytes[..]);
        incoming.fill().await.expect("bytes");
        assert!(incoming.take().expect("a length that may be").is_none());
        assert!(incoming.buffer.capacity() <= 2 * BUFFER_BYTES);
    }

    #[tokio::test]
    async fn the_room_that_one_large_message_took_is_given_back() {
        let large = message(b'd', &vec![1; 20 * BUFFER_BYTES]);
        let small = message(b'd', &[2; 1_000]).repeat(60 * BUFFER_BYTES / 1_000);
        let bytes = [large, small].concat();
        let mut incoming = Incoming::new(&bytes[..]);
        let mut taken = 0;
        while taken < bytes.len() {
            while let Some((_, body)) = incoming.take().expect("a message") {
                taken += 5 + body.len();
            }
            if taken < bytes.len() {
                incoming.fill().await.expect("bytes");
            }
        }
        assert!(!incoming.is_oversized && incoming.buffer.capacity() <= 2 * BUFFER_BYTES);
    }
}
