//! Tells a client that has nothing to say from one that is dead.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::client::Client;

/// A client that has said nothing for so long is asked whether it still can.
const QUIET_LIMIT: Duration = Duration::from_secs(5);

/// Watches a client that may be silent for days.
///
/// A broker that shuts down answers questions for a moment more, and says that the cluster has the topic and no brokers.
/// librdkafka then forgets every broker that it knows, the bootstrap servers too, and never asks anybody again
/// (<https://github.com/confluentinc/librdkafka/issues/5301>): its reader would wait for ever. No call and no callback
/// tells, but such a client can't answer a question of its own.
#[derive(Debug)]
pub(super) struct Vigil {
    heard_at: Instant,
    /// A question that is on its way. It survives the future that asked it: who only ever waits for less than an answer
    /// takes would never get one.
    question: Option<JoinHandle<bool>>,
}

impl Vigil {
    pub(super) fn new() -> Self {
        Self { heard_at: Instant::now(), question: None }
    }

    /// The client has said something that it had from the broker.
    pub(super) fn heard(&mut self) {
        self.heard_at = Instant::now();
        self.question = None;
    }

    /// Ends when the client was silent for too long and gave no answer either.
    pub(super) async fn until_dead(&mut self, client: &Client) {
        loop {
            let question = match &mut self.question {
                Some(question) => question,
                None => {
                    sleep_until(self.heard_at + QUIET_LIMIT).await;
                    self.question.insert(client.ask_whether_it_lives())
                }
            };
            // The task neither panics nor is it aborted, unless the runtime goes down with it.
            let lives = question.await.unwrap_or(true);
            self.heard();
            if !lives {
                return;
            }
        }
    }
}
