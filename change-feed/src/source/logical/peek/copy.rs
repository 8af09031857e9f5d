//! The rows of a binary COPY of `(lsn pg_lsn, data bytea)`.

use bytes::{Buf as _, Bytes};

use crate::source::logical::replication::{ReplicationError, XLogData};

/// *Binary Format* in the documentation of COPY.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const FIELDS: u16 = 2;
const TRAILER: u16 = u16::MAX;
const LSN_BYTES: u32 = 8;

/// Reads the rows of a binary COPY of `(lsn pg_lsn, data bytea)`. The server sends one row in each message, the header
/// before the first and the trailer after the last.
#[derive(Debug, Default)]
pub(super) struct CopyReader {
    has_begun: bool,
    has_ended: bool,
}

impl CopyReader {
    /// The row in a message; `None` if there is only the header or the trailer.
    #[inline]
    pub(super) fn read(&mut self, mut message: Bytes) -> Result<Option<XLogData>, ReplicationError> {
        if !self.has_begun {
            self.read_header(&mut message)?;
            self.has_begun = true;
        }
        if message.is_empty() {
            return Ok(None);
        }
        self.read_row(message).ok_or_else(malformed)
    }

    fn read_row(&mut self, mut message: Bytes) -> Option<Option<XLogData>> {
        if self.has_ended {
            return None;
        }
        match message.try_get_u16().ok()? {
            FIELDS => {}
            TRAILER if message.is_empty() => {
                self.has_ended = true;
                return Some(None);
            }
            _ => return None,
        }
        if message.try_get_u32().ok()? != LSN_BYTES {
            return None;
        }
        let lsn = message.try_get_u64().ok()?.into();
        let length = usize::try_from(message.try_get_u32().ok()?).ok()?;
        (message.len() == length).then_some(Some(XLogData { wal_start: lsn, wal_end: lsn, data: message }))
    }

    fn read_header(&self, message: &mut Bytes) -> Result<(), ReplicationError> {
        if !message.starts_with(SIGNATURE) {
            return Err(malformed());
        }
        message.advance(SIGNATURE.len());
        let _flags = message.try_get_u32().map_err(|_| malformed())?;
        let extension = usize::try_from(message.try_get_u32().map_err(|_| malformed())?).map_err(|_| malformed())?;
        if message.len() < extension {
            return Err(malformed());
        }
        message.advance(extension);
        Ok(())
    }
}

fn malformed() -> ReplicationError {
    ReplicationError::protocol("a binary copy of another form than was asked for")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::logical::Lsn;

    fn header() -> Vec<u8> {
        [SIGNATURE, &[0; 8]].concat()
    }

    fn row(lsn: u64, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).expect("short").to_be_bytes();
        [&2_u16.to_be_bytes()[..], &8_u32.to_be_bytes(), &lsn.to_be_bytes(), &length, data].concat()
    }

    #[test]
    fn rows_are_read_whether_the_header_comes_alone_or_with_the_first() {
        for messages in [vec![header(), row(7, b"x")], vec![[header(), row(7, b"x")].concat()]] {
            let mut reader = CopyReader::default();
            let rows: Vec<_> =
                messages.into_iter().filter_map(|message| reader.read(message.into()).expect("a copy")).collect();
            let expected = XLogData { wal_start: Lsn::new(7), wal_end: Lsn::new(7), data: Bytes::from_static(b"x") };
            assert_eq!(rows, [expected]);
            assert_eq!(reader.read(vec![0xff, 0xff].into()).expect("the trailer"), None);
        }
    }

    #[test]
    fn what_is_cut_short_or_goes_on_after_the_end_is_refused() {
        let whole = row(7, b"payload");
        for length in 1..whole.len() {
            let mut reader = CopyReader { has_begun: true, has_ended: false };
            assert!(reader.read(Bytes::copy_from_slice(&whole[..length])).is_err(), "{length} bytes");
        }
        let mut reader = CopyReader { has_begun: true, has_ended: true };
        assert!(reader.read(whole.into()).is_err());
        for length in 0..header().len() {
            assert!(CopyReader::default().read(Bytes::copy_from_slice(&header()[..length])).is_err());
        }
    }
}
