//! From bytes of the socket to chunks of whole messages.

use std::io::{self, Read};

use bytes::Bytes;

use crate::error::ReplicationError;

/// Tag and length.
pub(super) const HEADER_BYTES: usize = 5;
/// PostgreSQL builds no message above its `MaxAllocSize`. A larger length is the sign of another protocol.
const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// One read gives up to so much.
const BUFFER_BYTES: usize = 256 << 10;
/// With less room than this, what has come is handed over first, so that reads stay large.
const ROOM_BYTES_MIN: usize = 64 << 10;

/// How long the message is of which these are the first bytes; `None` if its header is not whole.
#[inline]
pub(super) fn message_bytes(bytes: &[u8]) -> Result<Option<usize>, ReplicationError> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let [_, length @ ..] = *header;
    // The length counts itself, and not the tag.
    match usize::try_from(u32::from_be_bytes(length)) {
        Ok(length) if (HEADER_BYTES - 1..MESSAGE_BYTES_MAX).contains(&length) => Ok(Some(length + 1)),
        _ => Err(ReplicationError::protocol("a message of an impossible length; is this PostgreSQL?")),
    }
}

/// Collects what the socket gives until it is whole messages.
///
/// ```text
///  buffer: ┊ whole messages, looked at ┊ a part of one ┊ room ┊
///          0                         whole           filled   len
/// ```
///
/// Whole messages leave as a copy of exactly their size, so that who keeps one keeps nothing of the buffer; a buffer that
/// grew for one large message leaves itself.
pub(super) struct Inbox {
    buffer: Vec<u8>,
    whole: usize,
    filled: usize,
}

impl Inbox {
    /// These bytes have come before.
    pub(super) fn holding(bytes: &[u8]) -> Self {
        let mut buffer = bytes.to_vec();
        buffer.resize(BUFFER_BYTES.max(bytes.len()), 0);
        Self { buffer, whole: 0, filled: bytes.len() }
    }

    /// Reads once. An unfinished message lets the buffer grow only as fast as it comes, whatever length it claims.
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

    /// Whether little more can be read before what is here is taken.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() - self.filled < ROOM_BYTES_MIN
    }

    /// The next whole message that was not looked at yet, as tag and body.
    #[inline]
    pub(super) fn look(&mut self) -> Result<Option<(u8, &[u8])>, ReplicationError> {
        let rest = &self.buffer[self.whole..self.filled];
        match message_bytes(rest)? {
            Some(length) if length <= rest.len() => {
                self.whole += length;
                Ok(Some((rest[0], &rest[HEADER_BYTES..length])))
            }
            _ => Ok(None),
        }
    }

    /// The messages that were looked at, if there are any.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        if self.whole == 0 {
            return None;
        }
        let whole = std::mem::take(&mut self.whole);
        let filled = self.filled;
        self.filled -= whole;
        if self.buffer.len() <= BUFFER_BYTES {
            let taken = Bytes::copy_from_slice(&self.buffer[..whole]);
            self.buffer.copy_within(whole..filled, 0);
            return Some(taken);
        }
        let mut rest = Vec::with_capacity(BUFFER_BYTES.max(self.filled));
        rest.extend_from_slice(&self.buffer[whole..filled]);
        rest.resize(BUFFER_BYTES.max(self.filled), 0);
        let mut taken = std::mem::replace(&mut self.buffer, rest);
        taken.truncate(whole);
        Some(taken.into())
    }
}

/// Takes the next message, as tag and body, from a chunk of whole ones.
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

    /// Gives at most so much at a time.
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
            while inbox.look().expect("a message").is_some() {}
            largest = largest.max(inbox.buffer.len());
            let mut chunk = inbox.take().unwrap_or_default();
            while let Some((tag, body)) = split_message(&mut chunk) {
                messages.push((tag, body.len()));
            }
            assert!(chunk.is_empty(), "a part of a message");
        }
        assert_eq!((inbox.whole, inbox.filled), (0, 0));
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
        while inbox.look().expect("a message").is_some() {}
        assert_eq!(inbox.take().map(|taken| taken.len()), Some(bytes.len()));
        assert_eq!(inbox.buffer.len(), BUFFER_BYTES);
    }

    #[test]
    fn what_is_taken_holds_nothing_of_the_buffer() {
        let mut inbox = Inbox::holding(&message(b'd', b"small"));
        inbox.look().expect("a message");
        let counted = allocation_counter::measure(|| drop(inbox.take().expect("a chunk")));
        assert!(counted.bytes_max < 100, "{} bytes", counted.bytes_max);
    }

    #[test]
    fn an_impossible_length_is_refused_and_a_large_one_takes_no_room_before_it_comes() {
        for length in [0, 3, u32::MAX, 1 << 31, 1 << 30] {
            let bytes = [&b"d"[..], &u32::to_be_bytes(length)].concat();
            let mut inbox = Inbox::holding(&bytes);
            assert!(matches!(inbox.look(), Err(ReplicationError::Protocol(_))), "{length}");
        }
        let bytes = [&b"d"[..], &(1_u32 << 29).to_be_bytes()].concat();
        let mut inbox = Inbox::holding(&bytes);
        assert!(inbox.look().expect("a length that may be").is_none());
        inbox.fill(&mut &[0; 100][..]).expect("bytes");
        assert_eq!(inbox.buffer.len(), BUFFER_BYTES);
    }

    #[test]
    fn the_end_of_the_connection_is_an_error() {
        let error = Inbox::holding(&[]).fill(&mut io::empty()).expect_err("nobody is there");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
