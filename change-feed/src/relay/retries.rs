//! How long the relay waits before it tries again.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::options::RelayOptions;

/// Counts the failures since the last success.
#[derive(Debug)]
pub(super) struct Retries {
    min_delay: Duration,
    max_delay: Duration,
    series: Option<Series>,
}

#[derive(Debug, Clone, Copy)]
struct Series {
    attempts: u32,
    since: DateTime<Utc>,
}

/// A retry to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retry {
    /// 1 for the first after a success.
    pub(super) attempt: u32,
    /// When the first failure after the last success happened.
    pub(super) since: DateTime<Utc>,
    /// The pause before it.
    pub(super) delay: Duration,
}

impl Retries {
    pub(super) fn new(options: &RelayOptions) -> Self {
        Self { min_delay: options.min_retry_delay, max_delay: options.max_retry_delay, series: None }
    }

    pub(super) fn succeeded(&mut self) {
        self.series = None;
    }

    pub(super) fn failed(&mut self) -> Retry {
        let before = self.series.unwrap_or_else(|| Series { attempts: 0, since: Utc::now() });
        let series = Series { attempts: before.attempts.saturating_add(1), ..before };
        self.series = Some(series);
        let factor = 1u32.checked_shl(before.attempts).unwrap_or(u32::MAX);
        let longest = self.min_delay.saturating_mul(factor).min(self.max_delay);
        Retry {
            attempt: series.attempts,
            since: series.since,
            // At random, so that relays that failed together don't come back together.
            delay: longest.mul_f64(0.5 + fastrand::f64() / 2.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_to_their_limit_and_begin_anew_after_a_success() {
        let options = RelayOptions::default();
        let mut retries = Retries::new(&options);
        let first = retries.failed();
        let mut longest = options.min_retry_delay;
        for attempt in 2..100 {
            let retry = retries.failed();
            longest = (longest * 2).min(options.max_retry_delay);
            assert_eq!((retry.attempt, retry.since), (attempt, first.since));
            assert!(longest / 2 <= retry.delay && retry.delay <= longest, "{retry:?}");
        }
        retries.succeeded();
        let again = retries.failed();
        assert_eq!(again.attempt, 1);
        assert!(again.delay <= options.min_retry_delay);
    }
}
