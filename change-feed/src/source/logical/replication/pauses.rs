//! When to let a busy stream gather before it is read.

use std::time::{Duration, Instant};

/// As long as a timer of the runtime can be short.
const PAUSE: Duration = Duration::from_millis(1);
/// A read of so much is worth its system call, and the wake-up before it.
const ENOUGH_BYTES: usize = 64 << 10;
/// The rate of a stream is measured over so long.
const WINDOW: Duration = Duration::from_millis(8);
/// 16 MB/s, in a window: from then on a pause gathers more than a dozen messages.
const BUSY_BYTES: usize = 128 << 10;

/// Tells whether to pause before a read.
///
/// A walsender sends message by message. A reader that is quick enough wakes up for each of them, and waking costs both
/// sides more than reading. While much comes, a millisecond more is of no concern to anybody.
#[derive(Debug)]
pub(super) struct Pauses {
    window_began: Instant,
    window_bytes: usize,
    is_busy: bool,
    until: Option<Instant>,
}

impl Pauses {
    pub(super) fn new(now: Instant) -> Self {
        Self { window_began: now, window_bytes: 0, is_busy: false, until: None }
    }

    /// A read gave so much.
    pub(super) fn read(&mut self, bytes: usize, now: Instant) {
        self.window_bytes += bytes;
        let elapsed = now.saturating_duration_since(self.window_began);
        if elapsed >= WINDOW {
            // A window that was much longer saw little in each part of it.
            self.is_busy = self.window_bytes >= BUSY_BYTES && elapsed < 2 * WINDOW;
            self.window_began = now;
            self.window_bytes = 0;
        }
        self.until = (self.is_busy && bytes < ENOUGH_BYTES).then(|| now + PAUSE);
    }

    /// Until when to pause, if a pause is due. A pause has one end, however often the wait for it is given up.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads of so many bytes, each so long after the one before; whether a pause is due at the end.
    fn after(reads: usize, bytes: usize, apart: Duration) -> bool {
        let mut now = Instant::now();
        let mut pauses = Pauses::new(now);
        for _ in 0..reads {
            now += apart;
            pauses.read(bytes, now);
        }
        pauses.until(now).is_some()
    }

    #[test]
    fn a_busy_stream_is_left_to_gather_and_a_quiet_one_is_read_at_once() {
        let tick = Duration::from_micros(20);
        assert!(after(1_000, 600, tick), "30 MB/s in small pieces");
        assert!(!after(1_000, 60, tick), "3 MB/s");
        assert!(!after(1_000, 200 << 10, tick), "reads that are large already");
        assert!(!after(10, 200 << 10, Duration::from_secs(1)), "a large transaction now and then");
        assert!(!after(100, 600, tick), "the first moments");
    }

    #[test]
    fn what_was_busy_is_read_at_once_again_when_it_is_quiet() {
        let mut now = Instant::now();
        let mut pauses = Pauses::new(now);
        for _ in 0..1_000 {
            now += Duration::from_micros(20);
            pauses.read(600, now);
        }
        now += Duration::from_millis(50);
        pauses.read(600, now);
        assert_eq!(pauses.until(now), None);
    }

    #[test]
    fn a_pause_ends_also_for_who_gives_up_every_wait() {
        let mut now = Instant::now();
        let mut pauses = Pauses::new(now);
        for _ in 0..1_000 {
            now += Duration::from_micros(20);
            pauses.read(600, now);
        }
        let end = pauses.until(now);
        assert_eq!(end, Some(now + PAUSE));
        assert_eq!(pauses.until(now + PAUSE / 2), end);
        assert_eq!(pauses.until(now + PAUSE), None);
    }
}
