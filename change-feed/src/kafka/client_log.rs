//! The log of a client: librdkafka's lines and errors as `tracing` events, and the facts that only they hold.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::Level;

use super::error_table::{Reaction, classify};

/// The thread of librdkafka that talks to the transaction coordinator, as its log lines name it.
const COORDINATOR_THREAD: &str = "TxnCoordinator";
/// The longest text that is kept of an error, in characters.
const WORDS_MAX_CHARS: usize = 300;
/// librdkafka repeats an error that lasts every 30 seconds: one that it reported longer ago has passed.
const ERROR_LIFETIME: Duration = Duration::from_secs(60);

/// The log of one client.
///
/// librdkafka reports through callbacks what no call answers: that the credentials were refused,
/// that nobody listens at an address, that the connection to the transaction coordinator broke.
#[derive(Debug)]
pub(crate) struct ClientLog {
    role: &'static str,
    last_error: Mutex<Option<ReportedError>>,
    disturbed: AtomicBool,
    /// The client is being closed.
    closing: AtomicBool,
}

/// An error that librdkafka reported.
#[derive(Debug)]
struct ReportedError {
    code: RDKafkaErrorCode,
    words: String,
    at: Instant,
}

impl ClientLog {
    /// `role` tells the lines of one client from those of another.
    pub(crate) fn new(role: &'static str) -> Self {
        Self { role, last_error: Mutex::new(None), disturbed: AtomicBool::default(), closing: AtomicBool::default() }
    }

    /// The last error that no call answered, unless it has passed. A refusal is kept rather than what follows from it.
    pub(crate) fn last_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        let last = self.lock();
        let last = last.as_ref().filter(|error| error.at.elapsed() < ERROR_LIFETIME)?;
        Some((last.code, last.words.clone()))
    }

    /// Notes that the cluster has answered well: the errors before that have passed.
    pub(crate) fn note_answer(&self) {
        *self.lock() = None;
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

    /// Logs everything from now on at the level DEBUG: the client is being closed.
    pub(crate) fn hush(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn log_at(&self, level: Level, about: &str, words: &str) {
        let role = self.role;
        let level = if self.closing.load(Ordering::Acquire) { Level::DEBUG } else { level };
        // The macros of `tracing` take a constant level only.
        match level {
            Level::ERROR => tracing::error!(target: "change_feed::kafka", role, about, "{words}"),
            Level::WARN => tracing::warn!(target: "change_feed::kafka", role, about, "{words}"),
            Level::INFO => tracing::info!(target: "change_feed::kafka", role, about, "{words}"),
            _ => tracing::debug!(target: "change_feed::kafka", role, about, "{words}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<ReportedError>> {
        // An option is whole at any time: a panic elsewhere can't have left half of it.
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for ClientLog {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if facility == "REQTMOUT" || (facility == "FAIL" && line.contains(COORDINATOR_THREAD)) {
            self.mark_disturbed();
        }
        self.log_at(level_of_line(level, facility), facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        if code == RDKafkaErrorCode::PartitionEOF {
            return;
        }
        self.log_at(level_of_error(code), &format!("{code:?}"), reason);
        let mut last = self.lock();
        let known = last.as_ref().filter(|error| error.at.elapsed() < ERROR_LIFETIME).map(|error| error.code);
        let is_refusal = |code| matches!(classify(code), Reaction::Refused(_));
        // "All brokers are down" follows each refusal and each failed connection, and explains none.
        let follows = code == RDKafkaErrorCode::AllBrokersDown && known.is_some();
        if !follows && (is_refusal(code) || !known.is_some_and(is_refusal)) {
            let words = reason.chars().take(WORDS_MAX_CHARS).collect();
            *last = Some(ReportedError { code, words, at: Instant::now() });
        }
    }
}

impl ConsumerContext for ClientLog {}

/// The level of a line of librdkafka. The publisher and the reader log by themselves what an error means for the feed.
fn level_of_line(level: RDKafkaLogLevel, facility: &str) -> Level {
    use RDKafkaLogLevel as Said;
    match (facility, level) {
        // Of settings that are chosen here, and for a reason.
        ("CONFWARN", _) => Level::DEBUG,
        // A connection broke in the middle of something: librdkafka connects again by itself.
        ("FAIL", Said::Warning) => Level::INFO,
        // A connection could not be made, which comes as an error too; or one ended that had nothing to do.
        ("FAIL", _) => Level::DEBUG,
        (_, Said::Emerg | Said::Alert | Said::Critical | Said::Error) => Level::ERROR,
        (_, Said::Warning) => Level::WARN,
        (_, Said::Notice) => Level::INFO,
        (_, Said::Info | Said::Debug) => Level::DEBUG,
    }
}

/// The level of an error that no call answers.
fn level_of_error(code: RDKafkaErrorCode) -> Level {
    use RDKafkaErrorCode as Code;
    match code {
        // Follows from what was said of each broker.
        Code::AllBrokersDown => Level::DEBUG,
        // librdkafka goes on trying, and a call that needs the broker meanwhile says so.
        Code::BrokerTransportFailure | Code::OperationTimedOut => Level::INFO,
        // It goes on trying these as well, but somebody has to change something first.
        code if matches!(classify(code), Reaction::Refused(_) | Reaction::Stop(_)) => Level::ERROR,
        _ => Level::WARN,
    }
}

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
    fn errors_that_pass_by_themselves_are_logged_below_those_that_need_somebody() {
        use RDKafkaErrorCode as Code;
        use RDKafkaLogLevel as Said;
        let lines = [
            (Said::Error, "FAIL", Level::DEBUG),
            (Said::Warning, "FAIL", Level::INFO),
            (Said::Info, "FAIL", Level::DEBUG),
            (Said::Warning, "CONFWARN", Level::DEBUG),
            (Said::Critical, "TXNERR", Level::ERROR),
            (Said::Error, "PROTOERR", Level::ERROR),
            (Said::Warning, "REQTMOUT", Level::WARN),
            (Said::Notice, "PARTCNT", Level::INFO),
            (Said::Info, "GETPID", Level::DEBUG),
        ];
        for (said, facility, level) in lines {
            assert_eq!(level_of_line(said, facility), level, "{said:?} {facility}");
        }
        let errors = [
            (Code::AllBrokersDown, Level::DEBUG),
            (Code::BrokerTransportFailure, Level::INFO),
            (Code::Resolve, Level::WARN),
            (Code::Fatal, Level::WARN),
            (Code::Authentication, Level::ERROR),
            (Code::SSL, Level::ERROR),
        ];
        for (code, level) in errors {
            assert_eq!(level_of_error(code), level, "{code:?}");
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

    #[test]
    fn refused_credentials_that_were_not_reported_again_have_passed() {
        let log = ClientLog::new("test");
        log.error(KafkaError::Global(RDKafkaErrorCode::Authentication), "refused");
        let long_ago = Instant::now().checked_sub(ERROR_LIFETIME).expect("the machine has run for a minute");
        log.lock().as_mut().expect("it was reported").at = long_ago;
        assert_eq!(log.last_error(), None);
        log.error(KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "gone");
        assert_eq!(log.last_error(), Some((RDKafkaErrorCode::BrokerTransportFailure, "gone".to_owned())));
    }
}
