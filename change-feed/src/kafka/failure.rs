//! What Kafka answered to a call that failed, and what the relay does next.

use std::fmt::{self, Display};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client_log::ClientLog;
use crate::publisher::PublishError;

/// What Kafka answered to a call that failed: what was being done, the code, and words.
#[derive(Debug)]
pub(crate) struct Failure {
    doing: String,
    code: RDKafkaErrorCode,
    detail: String,
}

/// What a failure means for the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Again, after a pause, with a new client.
    Transient,
    /// The broker or the client refuses this record, now and later.
    Refused,
    /// Another producer has taken this one's transactional id, or the coordinator gave it up.
    Fenced,
    /// Somebody must change the set-up first, and here is how.
    Fatal(&'static str),
}

impl Failure {
    pub(crate) fn of(doing: impl Into<String>, code: RDKafkaErrorCode, detail: impl Display) -> Self {
        Self { doing: doing.into(), code, detail: detail.to_string() }
    }

    pub(crate) fn new(doing: impl Into<String>, error: &KafkaError) -> Self {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        match error {
            KafkaError::Transaction(error) => Self::of(doing, code, error.string()),
            // `Display` of these would show the value of a setting, which may be a password.
            KafkaError::ClientConfig(_, _, key, _) => Self::of(
                doing,
                RDKafkaErrorCode::InvalidArgument,
                format_args!("librdkafka refuses the setting {key:?}"),
            ),
            KafkaError::ClientCreation(reason) => Self::of(doing, RDKafkaErrorCode::InvalidArgument, reason),
            KafkaError::AdminOpCreation(reason) => Self::of(doing, code, reason),
            _ => Self::of(doing, code, code),
        }
    }

    /// With what the client was told behind the call's back: librdkafka answers a wrong password
    /// or an unreachable broker with a mere time-out.
    #[must_use]
    pub(crate) fn explained_by(mut self, log: &ClientLog) -> Self {
        if !matches!(self.verdict(), Verdict::Transient) {
            return self;
        }
        if let Some((code, words)) = log.last_error() {
            if matches!(verdict(code), Verdict::Fatal(_)) {
                self.code = code;
            }
            self.detail = format!("{}; last heard: {words}", self.detail);
        }
        self
    }

    pub(crate) fn code(&self) -> RDKafkaErrorCode {
        self.code
    }

    pub(crate) fn verdict(&self) -> Verdict {
        verdict(self.code)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't {}: {}", self.doing, self.detail)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for PublishError {
    fn from(failure: Failure) -> Self {
        match failure.verdict() {
            // A refusal that reaches this point names no envelope: the next attempt finds it.
            Verdict::Transient | Verdict::Refused => PublishError::transient(failure),
            Verdict::Fenced => PublishError::Fenced,
            Verdict::Fatal(remedy) => {
                PublishError::Fatal { what: format!("{failure}; {remedy}"), source: Some(Box::new(failure)) }
            }
        }
    }
}

/// The whole policy. What is not named is worth another attempt with a new client: librdkafka's
/// fatal errors end the client, not the feed.
pub(super) fn verdict(code: RDKafkaErrorCode) -> Verdict {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Verdict::Fenced,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidRecord | Code::InvalidTimestamp => {
            Verdict::Refused
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            Verdict::Fatal("check the user name and the password (sasl.username, sasl.password) and the mechanism")
        }
        Code::UnsupportedSASLMechanism | Code::IllegalSASLState | Code::SecurityDisabled => {
            Verdict::Fatal("check security.protocol and sasl.mechanism against the cluster's listener")
        }
        Code::SSL => Verdict::Fatal("check security.protocol and the certificates (ssl.ca.location)"),
        Code::TopicAuthorizationFailed => Verdict::Fatal(
            "grant the feed's user DESCRIBE, READ and WRITE on its topics (CREATE too, if it makes them)",
        ),
        Code::TransactionalIdAuthorizationFailed => {
            Verdict::Fatal("grant the feed's user WRITE and DESCRIBE on its transactional id")
        }
        Code::ClusterAuthorizationFailed => {
            Verdict::Fatal("grant the feed's user IDEMPOTENT_WRITE on the cluster (CREATE too, if it makes topics)")
        }
        Code::GroupAuthorizationFailed => Verdict::Fatal("grant the feed's user READ on the group of its reader"),
        Code::InvalidTransactionTimeout => {
            Verdict::Fatal("choose a transaction timeout that is at most the broker's transaction.max.timeout.ms")
        }
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedForMessageFormat => {
            Verdict::Fatal("the broker does not support this: Apache Kafka 2.5 or later does")
        }
        Code::InvalidTopic => Verdict::Fatal("the name is not one that Kafka takes for a topic: choose another"),
        Code::InvalidReplicationFactor => {
            Verdict::Fatal("choose a replication factor that is at most the number of brokers")
        }
        Code::InvalidPartitions | Code::InvalidConfig | Code::PolicyViolation => {
            Verdict::Fatal("the cluster does not allow such a topic: create it by hand, as its administrator wants it")
        }
        Code::InvalidArgument => Verdict::Fatal("correct the setting"),
        _ => Verdict::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_of_kafka_names_the_next_move() {
        use RDKafkaErrorCode as Code;
        let moves = [
            (Code::BrokerTransportFailure, "transient"),
            (Code::CoordinatorLoadInProgress, "transient"),
            (Code::OutOfOrderSequenceNumber, "transient"),
            (Code::Inconsistent, "transient"),
            (Code::Fenced, "fenced"),
            (Code::ProducerFenced, "fenced"),
            (Code::TopicAuthorizationFailed, "fatal"),
            (Code::Authentication, "fatal"),
        ];
        for (code, expected) in moves {
            let named = match PublishError::from(Failure::of("publish", code, "said the broker")) {
                PublishError::Transient(_) => "transient",
                PublishError::Fenced => "fenced",
                PublishError::Fatal { .. } => "fatal",
                other => panic!("{code:?} became {other:?}"),
            };
            assert_eq!(named, expected, "{code:?}");
        }
    }

    #[test]
    fn a_fatal_failure_says_what_happened_and_what_to_do() {
        let failure = Failure::of("create the topic \"t\"", RDKafkaErrorCode::PolicyViolation, "policy");
        let words = PublishError::from(failure).to_string();
        assert!(words.contains("can't create the topic \"t\": policy; "), "{words}");
        assert!(words.contains("create it by hand"), "{words}");
    }

    #[test]
    fn the_value_of_a_refused_setting_is_not_shown() {
        let mut config = rdkafka::ClientConfig::new();
        config.set("security.protocol", "my-secret");
        let Err(error) = config.create_native_config() else {
            panic!("librdkafka took a protocol that it can't know");
        };
        let failure = Failure::new("start", &error);
        assert!(failure.to_string().contains("security.protocol"), "{failure}");
        assert!(!failure.to_string().contains("my-secret"), "{failure}");
    }
}
