//! When to let a busy stream gather before it is read.

use std::thread;
use std::time::{Duration, Instant};

/// A read of so much is worth its system call, and the wake-up before it.
const ENOUGH_BYTES: usize = 48 << 10;
/// The rate of a stream is measured over so long.
const WINDOW: Duration = Duration::from_millis(8);
/// 16 MB/s, in a window: from then on a pause gathers several messages.
const BUSY_BYTES: usize = 128 << 10;

/// How long a pause is, and who sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// A timer of the runtime, as short as it can be.
    Millisecond,
    /// The thread itself, since no timer of the runtime is so short. It takes about a tenth of a millisecond, which is no
    /// more than any other task may keep a thread.
    Moment,
}

impl Pause {
    const fn length(self) -> Duration {
        match self {
            Self::Millisecond => Duration::from_millis(1),
            Self::Moment => Duration::from_micros(50),
        }
    }
}

/// Tells whether to pause before a read.
///
/// A walsender sends message by message. A reader that is quick enough wakes up for each of them, and waking costs both
/// sides more than reading. While much comes, a millisecond more is of no concern to anybody.
#[derive(Debug)]
pub(super) struct Pauses {
    pause: Pause,
    window_began: Instant,
    window_bytes: usize,
    is_busy: bool,
    was_large: bool,
    until: Option<Instant>,
}

impl Pauses {
    pub(super) fn new(pause: Pause, now: Instant) -> Self {
        Self { pause, window_began: now, window_bytes: 0, is_busy: false, was_large: false, until: None }
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
        self.was_large = bytes >= ENOUGH_BYTES;
        self.until = (self.is_busy && !self.was_large).then(|| now + self.pause.length());
    }

    /// The last read gave so much that more may be there already.
    pub(super) fn was_large(&self) -> bool {
        self.was_large
    }

    /// Sleeps while a pause is due. A pause has one end, however often the wait for it is given up.
    pub(super) async fn wait(&self) {
        let Some(until) = self.until(Instant::now()) else { return };
        match self.pause {
            Pause::Millisecond => tokio::time::sleep_until(until.into()).await,
            Pause::Moment => thread::sleep(until.saturating_duration_since(Instant::now())),
        }
    }

    fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads of so many bytes, each so long after the one before; whether a pause is due at the end.
    fn after(reads: usize, bytes: usize, apart: Duration) -> bool {
        let mut now = Instant::now();
        let mut pauses = Pauses::new(Pause::Millisecond, now);
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
    fn more_is_expected_after_a_large_read_alone() {
        let mut pauses = Pauses::new(Pause::Moment, Instant::now());
        assert!(!pauses.was_large());
        pauses.read(64 << 10, Instant::now());
        assert!(pauses.was_large());
        pauses.read(600, Instant::now());
        assert!(!pauses.was_large());
    }

    #[test]
    fn what_was_busy_is_read_at_once_again_when_it_is_quiet() {
        let mut now = Instant::now();
        let mut pauses = Pauses::new(Pause::Millisecond, now);
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
        let mut pauses = Pauses::new(Pause::Millisecond, now);
        for _ in 0..1_000 {
            now += Duration::from_micros(20);
            pauses.read(600, now);
        }
        let end = pauses.until(now);
        let length = Pause::Millisecond.length();
        assert_eq!(end, Some(now + length));
        assert_eq!(pauses.until(now + length / 2), end);
        assert_eq!(pauses.until(now + length), None);
    }
}
