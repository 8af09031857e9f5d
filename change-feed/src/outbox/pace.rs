//! The rhythm of a polling source.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The shortest time between two polls.
const BUSY_INTERVAL_MS: u64 = 5;
/// The longest time between two polls.
const IDLE_INTERVAL_MS: u64 = 200;
/// An idle source waits this share of the time since the last change: it slows down to [`IDLE_INTERVAL_MS`] within 1.6 s,
/// and a change waits at most an eighth of the silence before it.
const IDLE_SHARE: u32 = 8;

/// Wakes a polling source that would otherwise find a change at its next poll.
///
/// A writer in the same process calls [`wake`](Wake::wake) after its commit, and the source polls at once. It is a hint:
/// only latency depends on it.
///
/// ```
/// use change_feed::Wake;
///
/// let wake = Wake::new();
/// let writer = wake.clone();
/// writer.wake();
/// ```
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Creates a handle. Give it to the builder of a source.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the source poll at once. Never blocks, and is remembered while the source is busy.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    async fn woken(&self) {
        self.0.notified().await;
    }
}

/// The rhythm of a polling source: quick while changes come, slow in silence.
#[derive(Debug)]
pub(crate) struct Pace {
    active_at: Instant,
    next_poll_at: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { active_at: now, next_poll_at: now }
    }

    /// Waits until it is time to poll, or the source is woken. Dropping the future loses neither.
    pub(crate) async fn rest(&self, wake: &Wake) {
        tokio::select! {
            biased;
            () = sleep_until(self.next_poll_at) => {}
            () = wake.woken() => {}
        }
    }

    /// Notes that changes were found: the next poll follows at once.
    pub(crate) fn active(&mut self) {
        self.active_at = Instant::now();
        self.next_poll_at = self.active_at;
    }

    /// Notes that nothing was found.
    pub(crate) fn idle(&mut self) {
        let now = Instant::now();
        self.next_poll_at = now + interval(now - self.active_at);
    }
}

fn interval(idle_for: Duration) -> Duration {
    let (shortest, longest) = (Duration::from_millis(BUSY_INTERVAL_MS), Duration::from_millis(IDLE_INTERVAL_MS));
    (idle_for / IDLE_SHARE).clamp(shortest, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_grows_with_the_silence_between_its_bounds() {
        let ms = Duration::from_millis;
        assert_eq!(interval(ms(0)), ms(5));
        assert_eq!(interval(ms(80)), ms(10));
        assert_eq!(interval(ms(1_600)), ms(200));
        assert_eq!(interval(ms(3_600_000)), ms(200));
    }

    #[tokio::test]
    async fn a_wake_ends_the_rest_and_is_remembered() {
        let wake = Wake::new();
        let mut pace = Pace::new();
        pace.next_poll_at += Duration::from_secs(3_600);
        wake.clone().wake();
        pace.rest(&wake).await;
        let one_wake_one_rest = tokio::time::timeout(Duration::from_millis(1), pace.rest(&wake)).await;
        assert!(one_wake_one_rest.is_err());
    }
}
