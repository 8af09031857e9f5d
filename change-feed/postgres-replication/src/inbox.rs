//! Collects the bytes of the socket into chunks of whole messages.

use std::io::{self, Read};

use bytes::Bytes;

use crate::error::ReplicationError;

/// The tag and the length.
pub(super) const HEADER_BYTES: usize = 5;
/// PostgreSQL builds no message above its `MaxAllocSize`. A larger length means that the server speaks another protocol.
const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// The size of the buffer, and so the most that one read takes.
const BUFFER_BYTES: usize = 256 << 10;
/// With less room than this, the messages in the buffer are handed over before the next read, so that reads stay large.
const ROOM_BYTES_MIN: usize = 64 << 10;

/// Reads the length of a message from its first bytes; `None` if its header is incomplete.
#[inline]
pub(super) fn message_bytes(bytes: &[u8]) -> Result<Option<usize>, ReplicationError> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let [_, length @ ..] = *header;
    // The length counts itself, and not the tag.
    match usize::try_from(u32::from_be_bytes(length)) {
        Ok(length) if (HEADER_BYTES - 1..MESSAGE_BYTES_MAX).contains(&length) => Ok(Some(length + 1)),
        _ => Err(ReplicationError::protocol("a message has an impossible length; is this PostgreSQL?")),
    }
}

/// Collects the bytes of the socket into chunks of whole messages.
///
/// ```text
///  buffer: ┊ whole messages, seen ┊ not seen yet ┊ room ┊
///          0                     seen          filled   len
/// ```
///
/// Whole messages leave as a copy of exactly their size, so that a message that is kept does not keep the buffer. A buffer
/// that grew for one large message is handed over itself, without a copy.
pub(super) struct Inbox {
    buffer: Vec<u8>,
    seen: usize,
    filled: usize,
}

impl Inbox {
    /// Makes an inbox that holds bytes which were read before.
    pub(super) fn holding(bytes: &[u8]) -> Self {
        let mut buffer = bytes.to_vec();
        buffer.resize(BUFFER_BYTES.max(bytes.len()), 0);
        Self { buffer, seen: 0, filled: bytes.len() }
    }

    /// Reads once. The buffer of an incomplete message grows with the bytes that arrive, and not to the length that it claims.
    pub(super) fn fill(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        if self.buffer.len() - self.filled < ROOM_BYTES_MIN {
            let grown = self.buffer.len() + self.filled.max(BUFFER_BYTES);
            self.buffer.resize(grown, 0);
        }
        match reader.read(&mut self.buffer[self.filled..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => {
                self.filled += bytes;
                Ok(bytes)
            }
        }
    }

    /// Whether the messages in the buffer have to be taken before the next read.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() - self.filled < ROOM_BYTES_MIN
    }

    /// Returns the next whole message as tag and body, and counts it as seen.
    #[inline]
    pub(super) fn next_message(&mut self) -> Result<Option<(u8, &[u8])>, ReplicationError> {
        let rest = &self.buffer[self.seen..self.filled];
        match message_bytes(rest)? {
            Some(length) if length <= rest.len() => {
                self.seen += length;
                Ok(Some((rest[0], &rest[HEADER_BYTES..length])))
            }
            _ => Ok(None),
        }
    }

    /// Takes the messages that were seen, if there are any.
    pub(super) fn take_seen(&mut self) -> Option<Bytes> {
        if self.seen == 0 {
            return None;
        }
        let seen = std::mem::take(&mut self.seen);
        let filled = self.filled;
        self.filled -= seen;
        if self.buffer.len() <= BUFFER_BYTES {
            let taken = Bytes::copy_from_slice(&self.buffer[..seen]);
            self.buffer.copy_within(seen..filled, 0);
            return Some(taken);
        }
        let mut rest = Vec::with_capacity(BUFFER_BYTES.max(self.filled));
        rest.extend_from_slice(&self.buffer[seen..filled]);
        rest.resize(BUFFER_BYTES.max(self.filled), 0);
        let mut taken = std::mem::replace(&mut self.buffer, rest);
        taken.truncate(seen);
        Some(taken.into())
    }
}

/// Takes the next message, as tag and body, from a chunk of whole messages.
#[inline]
pub(super) fn split_message(chunk: &mut Bytes) -> Option<(u8, Bytes)> {
    let length = message_bytes(chunk).ok().flatten().filter(|length| *length <= chunk.len())?;
    let message = chunk.split_to(length);
    Some((message[0], message.slice(HEADER_BYTES..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
        [&[tag][..], &length, body].concat()
    }

    /// Gives at most this number of bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(buffer.len());
            self.0.read(&mut buffer[..size])
        }
    }

    /// All messages that come, as tag and length, and the largest buffer meanwhile.
    fn read_all(bytes: &[u8], step: usize) -> (Vec<(u8, usize)>, usize) {
        let mut inbox = Inbox::holding(&[]);
        let mut server = Slow(bytes, step);
        let (mut messages, mut largest) = (Vec::new(), 0);
        while inbox.fill(&mut server).is_ok() {
            while inbox.next_message().expect("a message").is_some() {}
            largest = largest.max(inbox.buffer.len());
            let mut chunk = inbox.take_seen().unwrap_or_default();
            while let Some((tag, body)) = split_message(&mut chunk) {
                messages.push((tag, body.len()));
            }
            assert!(chunk.is_empty(), "a part of a message");
        }
        assert_eq!((inbox.seen, inbox.filled), (0, 0));
        (messages, largest)
    }

    #[test]
    fn messages_are_whole_wherever_the_border_of_a_read_falls() {
        let bytes = [message(b'd', b"one"), message(b'C', b""), message(b'd', &[7; 1_000])].concat();
        for step in 1..bytes.len() {
            assert_eq!(read_all(&bytes, step).0, [(b'd', 3), (b'C', 0), (b'd', 1_000)], "in pieces of {step}");
        }
    }

    #[test]
    fn a_message_larger_than_the_buffer_comes_whole_and_its_room_is_given_back() {
        let large = message(b'd', &vec![1; 20 * BUFFER_BYTES]);
        let small = message(b'd', &[2; 1_000]);
        let bytes = [small.clone(), large, small].concat();
        let (messages, largest) = read_all(&bytes, 50_000);
        assert_eq!(messages, [(b'd', 1_000), (b'd', 20 * BUFFER_BYTES), (b'd', 1_000)]);
        assert!(largest < 50 * BUFFER_BYTES, "{largest}");

        let mut inbox = Inbox::holding(&bytes);
        while inbox.next_message().expect("a message").is_some() {}
        assert_eq!(inbox.take_seen().map(|taken| taken.len()), Some(bytes.len()));
        assert_eq!(inbox.buffer.len(), BUFFER_BYTES);
    }

    #[test]
    fn what_is_taken_holds_nothing_of_the_buffer() {
        let mut inbox = Inbox::holding(&message(b'd', b"small"));
        inbox.next_message().expect("a message");
        let counted = allocation_counter::measure(|| drop(inbox.take_seen().expect("a chunk")));
        assert!(counted.bytes_max < 100, "{} bytes", counted.bytes_max);
    }

    #[test]
    fn an_impossible_length_is_refused_and_a_large_one_takes_no_room_before_it_comes() {
        for length in [0, 3, u32::MAX, 1 << 31, 1 << 30] {
            let bytes = [&b"d"[..], &u32::to_be_bytes(length)].concat();
            let mut inbox = Inbox::holding(&bytes);
            assert!(matches!(inbox.next_message(), Err(ReplicationError::Protocol(_))), "{length}");
        }
        let bytes = [&b"d"[..], &(1_u32 << 29).to_be_bytes()].concat();
        let mut inbox = Inbox::holding(&bytes);
        assert!(inbox.next_message().expect("a length that may be").is_none());
        inbox.fill(&mut &[0; 100][..]).expect("bytes");
        assert_eq!(inbox.buffer.len(), BUFFER_BYTES);
    }

    #[test]
    fn the_end_of_the_connection_is_an_error() {
        let error = Inbox::holding(&[]).fill(&mut io::empty()).expect_err("nobody is there");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
