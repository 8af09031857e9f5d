//! Time limits: every call into librdkafka ends.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::failure::Failure;

/// When a call gives up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit }
    }

    /// What is left, at least a millisecond: librdkafka takes 0 for "don't wait at all".
    pub(crate) fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    pub(crate) fn has_passed(self) -> bool {
        Instant::now() >= self.at
    }

    /// The earlier of this deadline and one that is `limit` away.
    pub(crate) fn at_most(self, limit: Duration) -> Self {
        Self { at: self.at.min(Instant::now() + limit) }
    }
}

/// How much longer than its own limit a call may take before nobody waits for it any more.
const GRACE: Duration = Duration::from_secs(2);

/// Runs a call that blocks away from the executor, and gives up on it soon after the deadline.
///
/// The call gets the deadline too and should end by itself: a thread can't be ended from outside.
/// Dropping the future leaves the call running.
pub(crate) async fn within<T: Send + 'static>(
    deadline: Deadline,
    doing: &'static str,
    call: impl FnOnce(Deadline) -> T + Send + 'static,
) -> Result<T, Failure> {
    let call = tokio::task::spawn_blocking(move || call(deadline));
    match tokio::time::timeout(deadline.remaining() + GRACE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Failure::of(doing, RDKafkaErrorCode::Fail, error)),
        Err(_) => Err(Failure::of(doing, RDKafkaErrorCode::OperationTimedOut, "librdkafka did not answer in time")),
    }
}

/// Drops a client away from the executor: librdkafka may take half a second to end one.
pub(crate) fn retire<T: Send + 'static>(client: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(client))),
        Err(_) => drop(client),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_never_ends_is_given_up() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let deadline = Deadline::after(Duration::ZERO);
        let answer = within(deadline, "wait for ever", move |_| held.recv()).await;
        let failure = answer.expect_err("nobody releases it before");
        assert_eq!(failure.code(), RDKafkaErrorCode::OperationTimedOut);
        assert!(failure.to_string().contains("wait for ever"), "{failure}");
        drop(release);
    }
}
