//! Feedback to the server: how far the client has received and stored the stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::BufMut as _;

use crate::lsn::Lsn;

/// Times in the protocol count microseconds from 2000-01-01 UTC. This is the time from 1970 to then.
const EPOCH: Duration = Duration::from_secs(946_684_800);

/// Confirms to the server what is durable. Clones confirm for the same stream.
#[derive(Debug, Clone)]
pub struct Confirmer {
    confirmed: Arc<AtomicU64>,
}

impl Confirmer {
    fn new(start: Lsn) -> Self {
        Self { confirmed: Arc::new(AtomicU64::new(start.as_u64())) }
    }

    /// Confirms that everything that commits before or at this place is durable with the caller, so that the server may
    /// forget it. Returns at once; the next feedback carries the place to the server.
    ///
    /// A place before one that was confirmed, or before the start of the stream, is ignored.
    pub fn confirm(&self, through: Lsn) {
        self.confirmed.fetch_max(through.as_u64(), Ordering::Relaxed);
    }

    /// The furthest place that was confirmed, or the start of the stream.
    pub fn confirmed(&self) -> Lsn {
        self.confirmed.load(Ordering::Relaxed).into()
    }
}

/// The state that the feedback reports.
#[derive(Debug)]
pub(super) struct Feedback {
    /// Where the stream began. It is never reported as confirmed, because the server may have begun later.
    start: Lsn,
    received: Lsn,
    confirmer: Confirmer,
}

impl Feedback {
    pub(super) fn new(start: Lsn) -> Self {
        Self { start, received: start, confirmer: Confirmer::new(start) }
    }

    pub(super) fn confirmer(&self) -> Confirmer {
        self.confirmer.clone()
    }

    /// Notes that the stream was received through this place.
    pub(super) fn received(&mut self, through: Lsn) {
        self.received = self.received.max(through);
    }

    /// Writes a *Standby status update*, in CopyData.
    pub(super) fn put_status(&self, wants_reply: bool, out: &mut Vec<u8>) {
        let confirmed = self.confirmer.confirmed();
        let flushed = if confirmed > self.start { confirmed } else { Lsn::INVALID };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + EPOCH).unwrap_or_default();
        out.put_u8(b'd');
        out.put_u32(4 + 1 + 4 * 8 + 1);
        out.put_u8(b'r');
        for place in [self.received.max(confirmed), flushed, flushed] {
            out.put_u64(place.as_u64());
        }
        out.put_u64(u64::try_from(now.as_micros()).unwrap_or_default());
        out.put_u8(u8::from(wants_reply));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was received, what is durable, and whether an answer is wanted.
    fn status(feedback: &Feedback, wants_reply: bool) -> (u64, u64, bool) {
        let mut bytes = Vec::new();
        feedback.put_status(wants_reply, &mut bytes);
        assert_eq!((bytes.len(), bytes[0], bytes[5]), (5 + 34, b'd', b'r'));
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        assert_eq!(number(14), number(22), "flushed and applied are the same to us");
        (number(6), number(14), bytes[38] == 1)
    }

    #[test]
    fn the_start_is_not_confirmed_and_nothing_goes_back() {
        let mut feedback = Feedback::new(Lsn::new(100));
        let confirmer = feedback.confirmer();
        assert_eq!(status(&feedback, false), (100, 0, false));
        for (confirmed, expected) in [(50, 0), (120, 120), (110, 120), (130, 130)] {
            confirmer.confirm(Lsn::new(confirmed));
            assert_eq!(status(&feedback, false).1, expected, "after confirming {confirmed}");
        }
        assert_eq!(confirmer.confirmed(), Lsn::new(130));
        for (received, expected) in [(125, 130), (140, 140), (135, 140)] {
            feedback.received(Lsn::new(received));
            assert_eq!(status(&feedback, true), (expected, 130, true), "after receiving {received}");
        }
    }
}
