//! Decides when the reader of a busy stream pauses.

use std::time::{Duration, Instant};

/// A stream is busy from this rate on: 4 MB/s, some 7,000 rows of 400 bytes.
const BUSY_BYTES_PER_MS: usize = 4 << 10;

/// Decides how long to pause before the next read.
///
/// A walsender sends message by message. A reader that is quick enough wakes up for each of them, and then waking, sending and
/// receiving cost both sides many times what the change costs them. A reader that pauses finds a hundred messages at once.
///
/// The rule: when the bytes that arrived within the length of a pause reach [`BUSY_BYTES_PER_MS`], the reader pauses before
/// the next read. It goes on pausing while each pause brings that many bytes. After a pause that brings fewer, it reads at
/// once again. So no message waits longer than one pause.
#[derive(Debug)]
pub(super) struct Pace {
    pause: Duration,
    busy_bytes: usize,
    /// When the count began.
    began: Instant,
    bytes: usize,
}

impl Pace {
    pub(super) fn new(pause: Duration, now: Instant) -> Self {
        let pause_us = usize::try_from(pause.as_micros()).unwrap_or(usize::MAX);
        Self { pause, busy_bytes: BUSY_BYTES_PER_MS.saturating_mul(pause_us) / 1_000, began: now, bytes: 0 }
    }

    /// Counts bytes that were read.
    pub(super) fn read(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Notes that the socket is empty. Returns the pause before the next read, if the stream is busy.
    pub(super) fn emptied(&mut self, now: Instant) -> Option<Duration> {
        let is_busy = self.bytes >= self.busy_bytes;
        if is_busy || now.saturating_duration_since(self.began) >= self.pause {
            self.began = now;
            self.bytes = 0;
        }
        is_busy.then_some(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_micros(500);

    /// A stream that brings messages of one size, one after the other, and the reader of it.
    struct Stream {
        pace: Pace,
        now: Instant,
        apart: Duration,
        message_bytes: usize,
    }

    impl Stream {
        fn new(message_bytes: usize, apart: Duration) -> Self {
            let now = Instant::now();
            Self { pace: Pace::new(PAUSE, now), now, apart, message_bytes }
        }

        /// Reads this many times. How much each read gave.
        fn read(&mut self, reads: usize) -> Vec<usize> {
            let mut wait = self.apart;
            let sizes = (0..reads).map(|_| {
                self.now += wait;
                let messages = usize::try_from(wait.as_nanos() / self.apart.as_nanos()).expect("few");
                let bytes = messages * self.message_bytes;
                self.pace.read(bytes);
                wait = self.pace.emptied(self.now).unwrap_or(self.apart);
                bytes
            });
            sizes.collect()
        }
    }

    #[test]
    fn a_busy_stream_is_read_in_pauses_after_its_first_messages() {
        // 60 MB/s in small messages.
        let sizes = Stream::new(600, Duration::from_micros(10)).read(100);
        let first_large = sizes.iter().position(|size| *size > 600).expect("a pause");
        assert_eq!(first_large, BUSY_BYTES_PER_MS.div_ceil(2 * 600));
        assert!(sizes[first_large..].iter().all(|size| *size == 50 * 600), "{sizes:?}");
    }

    #[test]
    fn a_stream_that_is_not_busy_is_read_at_once() {
        // 2 MB/s, and a thousand rows a second.
        for apart in [300, 1_000] {
            let sizes = Stream::new(600, Duration::from_micros(apart)).read(1_000);
            assert!(sizes.iter().all(|size| *size == 600), "{sizes:?}");
        }
    }

    #[test]
    fn what_was_busy_is_read_at_once_after_one_pause_without_much() {
        let mut stream = Stream::new(600, Duration::from_micros(10));
        stream.read(100);
        for pauses in [1, 2] {
            stream.pace.read(600);
            assert_eq!(stream.pace.emptied(stream.now + pauses * PAUSE), None);
        }
    }

    #[test]
    fn one_large_transaction_is_followed_by_one_pause() {
        let now = Instant::now();
        let mut pace = Pace::new(PAUSE, now);
        for _ in 0..10 {
            pace.read(BUSY_BYTES_PER_MS);
        }
        assert_eq!(pace.emptied(now), Some(PAUSE));
        assert_eq!(pace.emptied(now + PAUSE), None);
    }
}
