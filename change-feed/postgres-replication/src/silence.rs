//! Measures how long the server has sent nothing.

use std::time::{Duration, Instant};

// The limit is five periods. The server counts as lost after four silent ones, because the period before them may have begun
// with a message.
const PERIODS: u32 = 5;
const ASK_AFTER: u32 = 2;
const LOST_AFTER: u32 = 4;

/// Watches a server that should send messages regularly.
///
/// It counts periods and not time: for a process that was frozen for an hour, one period has passed.
#[derive(Debug)]
pub(super) struct Silence {
    period: Duration,
    period_ends: Instant,
    was_heard: bool,
    silent_periods: u32,
}

/// What to do about a server that is silent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Ask the server to answer.
    RequestReply,
    /// Give the connection up: no message came.
    Lost,
}

impl Silence {
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        let period = limit / PERIODS;
        Self { period, period_ends: now + period, was_heard: false, silent_periods: 0 }
    }

    /// Notes that a message arrived, or that nothing was read because the caller has to take messages first.
    pub(super) fn heard(&mut self) {
        self.was_heard = true;
    }

    /// When to check next.
    pub(super) fn period_ends(&self) -> Instant {
        self.period_ends
    }

    /// Checks at the end of each period whether the server is overdue.
    pub(super) fn check(&mut self, now: Instant) -> Option<Overdue> {
        if now < self.period_ends {
            return None;
        }
        self.period_ends = now + self.period;
        self.silent_periods = if self.was_heard { 0 } else { self.silent_periods + 1 };
        self.was_heard = false;
        match self.silent_periods {
            ASK_AFTER => Some(Overdue::RequestReply),
            LOST_AFTER.. => Some(Overdue::Lost),
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
    fn concern(silence: &mut Silence, now: &mut Instant) -> (Overdue, Duration) {
        let began = *now;
        loop {
            *now += STEP;
            if let Some(concern) = silence.check(*now) {
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
        assert_eq!((asked, lost), (Overdue::RequestReply, Overdue::Lost));
        assert!(asked_after + lost_after <= LIMIT, "{asked_after:?} {lost_after:?}");
    }

    #[test]
    fn a_sign_of_life_begins_the_count_anew() {
        let mut now = Instant::now();
        let mut silence = Silence::new(LIMIT, now);
        for _ in 0..10 {
            assert_eq!(concern(&mut silence, &mut now).0, Overdue::RequestReply);
            silence.heard();
        }
    }

    #[test]
    fn time_that_the_process_stood_still_counts_little() {
        let mut now = Instant::now();
        let mut silence = Silence::new(LIMIT, now);
        now += 10 * LIMIT;
        assert_eq!(silence.check(now), None);
        assert_eq!(concern(&mut silence, &mut now).0, Overdue::RequestReply);
    }
}
