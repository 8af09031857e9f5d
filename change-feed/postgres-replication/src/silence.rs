//! How long a server has said nothing.

use std::time::{Duration, Instant};

// So many periods make the limit: the first may have begun with a sign of life.
const PERIODS: u32 = 5;
const ASK_AFTER: u32 = 2;
const LOST_AFTER: u32 = 4;

/// Watches a server that should be heard of regularly.
///
/// Periods are counted, not time: a process that stood still for an hour finds that one period has passed.
#[derive(Debug)]
pub(super) struct Silence {
    period: Duration,
    period_ends: Instant,
    was_heard: bool,
    silent_periods: u32,
}

/// What a silence has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// Time to ask for a sign of life.
    Ask,
    /// No sign of life came.
    Lost,
}

impl Silence {
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        let period = limit / PERIODS;
        Self { period, period_ends: now + period, was_heard: false, silent_periods: 0 }
    }

    /// The server was heard of; or nobody listens, since what was read waits to be taken.
    pub(super) fn heard(&mut self) {
        self.was_heard = true;
    }

    /// When to look next.
    pub(super) fn period_ends(&self) -> Instant {
        self.period_ends
    }

    /// Looks whether there is reason for concern.
    pub(super) fn look(&mut self, now: Instant) -> Option<Concern> {
        if now < self.period_ends {
            return None;
        }
        self.period_ends = now + self.period;
        self.silent_periods = if self.was_heard { 0 } else { self.silent_periods + 1 };
        self.was_heard = false;
        match self.silent_periods {
            ASK_AFTER => Some(Concern::Ask),
            LOST_AFTER.. => Some(Concern::Lost),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const STEP: Duration = Duration::from_millis(10);

    /// Looks until there is concern. How long that took.
    fn concern(silence: &mut Silence, now: &mut Instant) -> (Concern, Duration) {
        let began = *now;
        loop {
            *now += STEP;
            if let Some(concern) = silence.look(*now) {
                return (concern, *now - began);
            }
        }
    }

    #[test]
    fn a_silent_server_is_asked_and_then_lost_within_the_limit() {
        let mut now = Instant::now();
        let mut silence = Silence::new(LIMIT, now);
        let (asked, asked_after) = concern(&mut silence, &mut now);
        let (lost, lost_after) = concern(&mut silence, &mut now);
        assert_eq!((asked, lost), (Concern::Ask, Concern::Lost));
        assert!(asked_after + lost_after <= LIMIT, "{asked_after:?} {lost_after:?}");
    }

    #[test]
    fn a_sign_of_life_begins_the_count_anew() {
        let mut now = Instant::now();
        let mut silence = Silence::new(LIMIT, now);
        for _ in 0..10 {
            assert_eq!(concern(&mut silence, &mut now).0, Concern::Ask);
            silence.heard();
        }
    }

    #[test]
    fn time_that_the_process_stood_still_counts_little() {
        let mut now = Instant::now();
        let mut silence = Silence::new(LIMIT, now);
        now += 10 * LIMIT;
        assert_eq!(silence.look(now), None);
        assert_eq!(concern(&mut silence, &mut now).0, Concern::Ask);
    }
}
