//! The end of one request.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::StoreError;

/// When a request gives up, retries and waits included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

/// The request took longer than the store's patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the database did not answer in time")]
pub(crate) struct TimedOut;

impl From<TimedOut> for StoreError {
    /// For steps before anything was sent that could commit.
    fn from(timed_out: TimedOut) -> Self {
        Self::unavailable(timed_out)
    }
}

impl Deadline {
    /// A deadline from now on.
    pub(crate) fn after(patience: Duration) -> Self {
        let now = Instant::now();
        // Further off than the clock reaches is a century.
        Self(now.checked_add(patience).unwrap_or(now + Duration::from_secs(3_155_760_000)))
    }

    /// Waits for `step` until the deadline; a step that is ready counts even at the deadline.
    pub(crate) async fn limit<T>(self, step: impl Future<Output = T>) -> Result<T, TimedOut> {
        timeout_at(self.0, step).await.map_err(|_| TimedOut)
    }

    /// The longest that the database may wait for a lock, in milliseconds, so that its answer still comes in time.
    #[cfg(feature = "postgres")]
    pub(crate) fn lock_timeout_ms(self) -> u128 {
        let remaining_ms = self.0.saturating_duration_since(Instant::now()).as_millis();
        // 0 would be no limit at all.
        (remaining_ms - (remaining_ms / 5).min(LONGEST_ANSWER_MS)).max(1)
    }
}

/// The share of the patience that is kept for the answer after a lock.
#[cfg(feature = "postgres")]
const LONGEST_ANSWER_MS: u128 = 1_000;

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_server_gives_up_before_the_store_does() {
        assert_eq!(Deadline::after(Duration::from_secs(30)).lock_timeout_ms(), 29_000);
        assert_eq!(Deadline::after(Duration::from_millis(100)).lock_timeout_ms(), 80);
        assert_eq!(Deadline::after(Duration::ZERO).lock_timeout_ms(), 1);
        let longest = Deadline::after(Duration::MAX);
        assert_eq!(longest.limit(async { 7 }).await, Ok(7));
    }
}
