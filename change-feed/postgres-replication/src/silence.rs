//! How long a server has said nothing.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

// So many periods make the limit: the first may have begun with a sign of life.
const PERIODS: u32 = 5;
const ASK_AFTER: u32 = 2;
const LOST_AFTER: u32 = 4;

/// Watches a server that should be heard of regularly, without looking at the clock each time that it is.
///
/// Only time that somebody waits counts: what came while nobody read can't be told from silence.
#[derive(Debug)]
pub(super) struct Silence {
    timer: Pin<Box<Sleep>>,
    period: Duration,
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
    pub(super) fn new(limit: Duration) -> Self {
        let period = limit / PERIODS;
        let timer = Box::pin(tokio::time::sleep(period));
        Self { timer, period, was_heard: false, silent_periods: 0 }
    }

    #[inline]
    pub(super) fn heard(&mut self) {
        self.was_heard = true;
    }

    /// Waits until there is reason for concern.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Concern> {
        loop {
            std::task::ready!(self.timer.as_mut().poll(context));
            self.timer.as_mut().reset(Instant::now() + self.period);
            self.silent_periods = if self.was_heard { 0 } else { self.silent_periods + 1 };
            self.was_heard = false;
            match self.silent_periods {
                ASK_AFTER => return Poll::Ready(Concern::Ask),
                LOST_AFTER.. => return Poll::Ready(Concern::Lost),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_asked_and_then_lost_within_the_limit() {
        let mut silence = Silence::new(LIMIT);
        let began = Instant::now();
        assert_eq!(poll_fn(|context| silence.poll(context)).await, Concern::Ask);
        assert_eq!(poll_fn(|context| silence.poll(context)).await, Concern::Lost);
        assert!(began.elapsed() <= LIMIT, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_of_life_begins_the_count_anew() {
        let mut silence = Silence::new(LIMIT);
        for _ in 0..10 {
            assert_eq!(poll_fn(|context| silence.poll(context)).await, Concern::Ask);
            silence.heard();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_goes_on_where_it_was() {
        let mut silence = Silence::new(LIMIT);
        let began = Instant::now();
        let mut concerns = Vec::new();
        while concerns.len() < 2 {
            let wait = tokio::time::timeout(Duration::from_millis(10), poll_fn(|context| silence.poll(context)));
            concerns.extend(wait.await.ok());
        }
        assert_eq!(concerns, [Concern::Ask, Concern::Lost]);
        assert!(began.elapsed() <= LIMIT, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_nobody_waits_counts_little() {
        let mut silence = Silence::new(LIMIT);
        tokio::time::advance(10 * LIMIT).await;
        let back = Instant::now();
        assert_eq!(poll_fn(|context| silence.poll(context)).await, Concern::Ask);
        assert!(back.elapsed() > Duration::ZERO);
    }
}
