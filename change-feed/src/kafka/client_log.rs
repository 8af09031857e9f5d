//! librdkafka's log lines as `tracing` events, and what they alone tell.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The thread of librdkafka that talks to the transaction coordinator, as its log lines name it.
const COORDINATOR_THREAD: &str = "TxnCoordinator";
/// The longest text that is kept of an error, in characters.
const WORDS_MAX_CHARS: usize = 300;

/// The log of one client.
///
/// librdkafka reports through callbacks what no call answers: that the credentials were refused,
/// that nobody listens at an address, that the connection to the transaction coordinator broke.
#[derive(Debug)]
pub(crate) struct ClientLog {
    role: &'static str,
    last_error: Mutex<Option<(RDKafkaErrorCode, String)>>,
    disturbed: AtomicBool,
}

impl ClientLog {
    /// `role` tells the lines of one client from those of another.
    pub(crate) fn new(role: &'static str) -> Self {
        Self { role, last_error: Mutex::new(None), disturbed: AtomicBool::new(false) }
    }

    /// The last error that no call answered. A refusal is kept rather than what follows from it.
    pub(crate) fn last_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.lock().clone()
    }

    /// Whether a request went unanswered, or the connection to the transaction coordinator broke,
    /// since the last [`forget_disturbance`](Self::forget_disturbance).
    ///
    /// librdkafka then repeats the request by itself and reports success. But with the transaction
    /// protocol that it speaks, the first one may still be on its way and end a *later* transaction
    /// of the same producer: such a producer must not begin another.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.disturbed.load(Ordering::Acquire)
    }

    pub(crate) fn mark_disturbed(&self) {
        self.disturbed.store(true, Ordering::Release);
    }

    pub(crate) fn forget_disturbance(&self) {
        self.disturbed.store(false, Ordering::Release);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(RDKafkaErrorCode, String)>> {
        // A text and a code are whole at any time: a panic elsewhere can't have left half of them.
        self.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl ClientContext for ClientLog {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if facility == "REQTMOUT" || (facility == "FAIL" && line.contains(COORDINATOR_THREAD)) {
            self.mark_disturbed();
        }
        let role = self.role;
        if facility == "CONFWARN" {
            // Of settings that are chosen here, and for a reason.
            tracing::debug!(target: "change_feed::kafka", role, facility, "{line}");
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(target: "change_feed::kafka", role, facility, "{line}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "change_feed::kafka", role, facility, "{line}"),
            RDKafkaLogLevel::Notice => tracing::info!(target: "change_feed::kafka", role, facility, "{line}"),
            // librdkafka says "info" of each connection that ends.
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "change_feed::kafka", role, facility, "{line}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        if code == RDKafkaErrorCode::PartitionEOF {
            return;
        }
        tracing::warn!(target: "change_feed::kafka", role = self.role, code = ?code, "{reason}");
        let mut last = self.lock();
        let refused = |code| matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL);
        // "All brokers are down" follows each refusal and each failed connection, and explains none.
        let follows = code == RDKafkaErrorCode::AllBrokersDown && last.is_some();
        if !follows && !last.as_ref().is_some_and(|(known, _)| refused(*known) && !refused(code)) {
            *last = Some((code, reason.chars().take(WORDS_MAX_CHARS).collect()));
        }
    }
}

impl ConsumerContext for ClientLog {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_coordinator_or_an_unanswered_request_disturbs_and_other_lines_do_not() {
        let lines = [
            ("FAIL", "[thrd:TxnCoordinator]: TxnCoordinator/1: Disconnected", true),
            ("REQTMOUT", "[thrd:TxnCoordinator]: Timed out EndTxnRequest in flight", true),
            ("FAIL", "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: Disconnected", false),
            ("CONFWARN", "[thrd:app]: a setting of TxnCoordinator", false),
        ];
        for (facility, line, disturbs) in lines {
            let log = ClientLog::new("test");
            log.log(RDKafkaLogLevel::Info, facility, line);
            assert_eq!(log.is_disturbed(), disturbs, "{facility} {line}");
        }
    }

    #[test]
    fn refused_credentials_are_not_hidden_by_what_follows_from_them() {
        let log = ClientLog::new("test");
        log.error(KafkaError::Global(RDKafkaErrorCode::Authentication), "refused");
        log.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        log.error(KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "gone");
        assert_eq!(log.last_error(), Some((RDKafkaErrorCode::Authentication, "refused".to_owned())));
    }
}
