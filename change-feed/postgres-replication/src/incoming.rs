//! Reads the server's messages before a stream.

use bytes::{Buf as _, Bytes, BytesMut};
use postgres_protocol::message::backend::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::error::ReplicationError;
use crate::inbox::{HEADER_BYTES, message_bytes};

/// The room in the buffer before each read.
const READ_BYTES: usize = 8 << 10;

/// Reads the server's messages before a stream.
pub(super) struct Incoming<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R> Incoming<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: BytesMut::new() }
    }

    pub(super) fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    pub(super) fn get_ref(&self) -> &R {
        &self.reader
    }

    /// Returns the reader, and the bytes that were read and not taken.
    pub(super) fn into_parts(self) -> (R, BytesMut) {
        (self.reader, self.buffer)
    }

    /// Returns the tag of the next message, if the whole message has arrived.
    pub(super) fn tag(&self) -> Result<Option<u8>, ReplicationError> {
        let length = message_bytes(&self.buffer)?;
        Ok(length.filter(|length| *length <= self.buffer.len()).map(|_| self.buffer[0]))
    }

    /// Takes the next message as tag and body, if the whole message has arrived.
    pub(super) fn take(&mut self) -> Result<Option<(u8, Bytes)>, ReplicationError> {
        let Some(length) = message_bytes(&self.buffer)?.filter(|length| *length <= self.buffer.len()) else {
            return Ok(None);
        };
        let mut message = self.buffer.split_to(length).freeze();
        let tag = message[0];
        message.advance(HEADER_BYTES);
        Ok(Some((tag, message)))
    }

    /// Takes and parses the next message, if the whole message has arrived.
    pub(super) fn parse(&mut self) -> Result<Option<Message>, ReplicationError> {
        // This refuses an impossible length before memory is reserved for it.
        if self.tag()?.is_none() {
            return Ok(None);
        }
        Message::parse(&mut self.buffer).map_err(|error| ReplicationError::protocol(error.to_string()))
    }
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// Reads once. Nothing is lost when the future is dropped.
    pub(super) async fn fill(&mut self) -> Result<(), ReplicationError> {
        self.buffer.reserve(READ_BYTES);
        let lost = |error| ReplicationError::lost("could not read from the server", error);
        match self.reader.read_buf(&mut self.buffer).await.map_err(lost)? {
            0 => Err(lost(std::io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_whole_however_they_come() {
        let bytes = [&b"d\0\0\0\x07one"[..], b"C\0\0\0\x04", b"d\0\0\0\x06xy"].concat();
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
            assert_eq!(taken, [(b'd', 3), (b'C', 0), (b'd', 2)], "in pieces of {step}");
        }
    }

    #[tokio::test]
    async fn the_end_of_the_connection_is_an_error_that_may_pass() {
        let (server, ours) = tokio::io::duplex(64);
        drop(server);
        let error = Incoming::new(ours).fill().await.expect_err("nobody is there");
        assert!(error.is_transient(), "{error:?}");
    }
}
