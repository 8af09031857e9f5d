//! Tells an idle client from a dead one.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::client::Client;

/// After this time without a sign of the broker a client is checked.
const QUIET_LIMIT: Duration = Duration::from_secs(5);

/// Checks a client that may be idle for days.
///
/// A broker that shuts down answers for a moment more, and says that the cluster has the topic and no brokers.
/// librdkafka then forgets every broker that it knows, the bootstrap servers too, and never connects again
/// (<https://github.com/confluentinc/librdkafka/issues/5301>): its reader would wait for ever. No call and no callback
/// shows it, but a metadata request of such a client gets no answer.
#[derive(Debug)]
pub(super) struct Liveness {
    answered_at: Instant,
    /// A check under way. It survives the future that began it: a caller that waits for less time than a check takes
    /// would never see its result.
    check: Option<JoinHandle<bool>>,
}

impl Liveness {
    pub(super) fn new() -> Self {
        Self { answered_at: Instant::now(), check: None }
    }

    /// Notes that something has come from the broker.
    pub(super) fn note_answer(&mut self) {
        self.answered_at = Instant::now();
        self.check = None;
    }

    /// Ends with the result of a check, after a time without a sign of the broker: whether the client lives.
    pub(super) async fn check(&mut self, client: &Client) -> bool {
        let check = match &mut self.check {
            Some(check) => check,
            None => {
                sleep_until(self.answered_at + QUIET_LIMIT).await;
                self.check.insert(client.check_liveness())
            }
        };
        // The task neither panics nor is it aborted, unless the runtime goes down with it.
        let lives = check.await.unwrap_or(true);
        self.note_answer();
        lives
    }
}
