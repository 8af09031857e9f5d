//! The delivery reports of a producer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tokio::sync::Notify;

use crate::kafka::client_log::ClientLog;
use crate::kafka::error_table::{Reaction, classify};
use crate::kafka::failure::Failure;

/// The tag of a position record; the envelopes' tags count from 0.
pub(super) const POSITION_TAG: usize = usize::MAX;

/// Receives the delivery reports of one producer, and keeps those of failures.
#[derive(Debug)]
pub(super) struct Deliveries {
    log: ClientLog,
    failed: AtomicBool,
    failure: Notify,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    /// The first failure that is not the mere consequence of another.
    cause: Option<RDKafkaErrorCode>,
    /// The first record that the broker rejected by itself.
    refused: Option<(usize, RDKafkaErrorCode)>,
    refused_count: usize,
}

/// Why records were not delivered.
#[derive(Debug)]
pub(super) enum Undelivered {
    /// The record with this tag is refused, and no other.
    Refused { tag: usize, code: RDKafkaErrorCode },
    /// One record of a batch is refused, and the answer does not name it.
    RefusedTogether { code: RDKafkaErrorCode },
    /// Something that has nothing to do with a single record.
    Failed(Failure),
}

impl Deliveries {
    pub(super) fn new(role: &'static str) -> Self {
        Self {
            log: ClientLog::new(role),
            failed: AtomicBool::new(false),
            failure: Notify::new(),
            failures: Mutex::default(),
        }
    }

    pub(super) fn log(&self) -> &ClientLog {
        &self.log
    }

    /// Whether any record has failed. Cheap.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Waits until a record has failed. Wakes one waiter.
    pub(super) async fn wait_for_failure(&self) {
        self.failure.notified().await;
    }

    /// Why, if any has. `one_by_one`: each record travelled in a batch of its own.
    pub(super) fn undelivered(&self, one_by_one: bool) -> Option<Undelivered> {
        let failures = self.lock();
        match (failures.refused, failures.cause) {
            (Some((tag, code)), _) if failures.refused_count == 1 || one_by_one => {
                Some(Undelivered::Refused { tag, code })
            }
            (Some((_, code)), _) => Some(Undelivered::RefusedTogether { code }),
            (None, Some(code)) => {
                let failure = Failure::of("deliver records to Kafka", code, code);
                Some(Undelivered::Failed(failure.explained_by(&self.log)))
            }
            (None, None) => None,
        }
    }

    fn record(&self, tag: usize, code: RDKafkaErrorCode) {
        let mut failures = self.lock();
        if classify(code) == Reaction::RejectRecord {
            failures.refused.get_or_insert((tag, code));
            failures.refused_count += 1;
        } else if failures.cause.is_none_or(is_consequence) {
            failures.cause = Some(code);
        }
        drop(failures);
        self.failed.store(true, Ordering::Release);
        self.failure.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Failures> {
        // Plain values, whole at any time: a panic elsewhere can't have left half of them.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether librdkafka reports this code for all other records once one has failed.
fn is_consequence(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight | RDKafkaErrorCode::Fatal)
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.log.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        if let Err((error, _)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            self.record(tag, code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(failures: &[(usize, RDKafkaErrorCode)], one_by_one: bool) -> Option<Undelivered> {
        let deliveries = Deliveries::new("test");
        for (tag, code) in failures {
            deliveries.record(*tag, *code);
        }
        assert_eq!(deliveries.has_failed(), !failures.is_empty());
        deliveries.undelivered(one_by_one)
    }

    #[test]
    fn a_record_that_is_refused_alone_is_known_and_one_of_a_batch_only_if_batches_hold_one() {
        use RDKafkaErrorCode::{MessageSizeTooLarge as TooLarge, PurgeQueue};
        let alone = after(&[(3, TooLarge), (4, PurgeQueue)], false);
        assert!(matches!(alone, Some(Undelivered::Refused { tag: 3, .. })), "{alone:?}");
        let batch = [(3, TooLarge), (4, TooLarge)];
        let together = after(&batch, false);
        assert!(matches!(together, Some(Undelivered::RefusedTogether { .. })), "{together:?}");
        let singly = after(&batch, true);
        assert!(matches!(singly, Some(Undelivered::Refused { tag: 3, .. })), "{singly:?}");
    }

    #[test]
    fn the_cause_is_told_and_not_what_followed_from_it() {
        use RDKafkaErrorCode::{Fatal, PurgeQueue, TopicAuthorizationFailed};
        let failures = [(0, PurgeQueue), (1, TopicAuthorizationFailed), (2, Fatal)];
        let Some(Undelivered::Failed(failure)) = after(&failures, false) else {
            panic!("no record was refused");
        };
        assert_eq!(failure.code(), TopicAuthorizationFailed);
        assert!(after(&[], false).is_none());
    }
}
