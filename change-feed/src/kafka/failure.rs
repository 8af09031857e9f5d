//! What Kafka answered to a call that failed.

use std::fmt::{self, Display};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client_log::ClientLog;
use super::error_table::{Reaction, classify};
use crate::publisher::PublishError;

/// What Kafka answered to a call that failed: what was being done, the code, and words.
#[derive(Debug)]
pub(crate) struct Failure {
    doing: String,
    code: RDKafkaErrorCode,
    detail: String,
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
            KafkaError::ClientConfig(_, reason, key, _) => match missing_feature(reason) {
                Some(missing) => {
                    let detail = format_args!("the setting {key:?} needs {missing}");
                    Self::of(doing, RDKafkaErrorCode::NotImplemented, detail)
                }
                None => {
                    let detail = format_args!("librdkafka refuses the setting {key:?}");
                    Self::of(doing, RDKafkaErrorCode::InvalidArgument, detail)
                }
            },
            KafkaError::ClientCreation(reason) => match missing_feature(reason) {
                Some(missing) => {
                    let detail = format_args!("the setting \"sasl.mechanism\" needs {missing}");
                    Self::of(doing, RDKafkaErrorCode::NotImplemented, detail)
                }
                None => Self::of(doing, RDKafkaErrorCode::InvalidArgument, reason),
            },
            KafkaError::AdminOpCreation(reason) => Self::of(doing, code, reason),
            _ => Self::of(doing, code, code),
        }
    }

    /// Adds the error that the client last reported to its log, if the call itself tells little: librdkafka answers a
    /// wrong password or an unreachable broker with a mere time-out.
    #[must_use]
    pub(crate) fn explained_by(mut self, log: &ClientLog) -> Self {
        if !matches!(self.reaction(), Reaction::Retry | Reaction::RetryUntil(_)) {
            return self;
        }
        if let Some((code, words)) = log.last_error() {
            if matches!(classify(code), Reaction::Refused(_) | Reaction::Stop(_)) {
                self.code = code;
            }
            self.detail = format!("{}; last reported: {words}", self.detail);
        }
        self
    }

    pub(crate) fn code(&self) -> RDKafkaErrorCode {
        self.code
    }

    pub(crate) fn reaction(&self) -> Reaction {
        classify(self.code)
    }

    /// As `From` does, for a client that worked before: that its credentials are refused may pass, and a new client
    /// finds out.
    pub(crate) fn of_working_client(self) -> PublishError {
        match self.reaction() {
            Reaction::Refused(_) => PublishError::transient(self),
            _ => self.into(),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't {}: {}", self.doing, self.detail)?;
        match self.reaction() {
            Reaction::RetryUntil(advice) => write!(f, "; {advice}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for PublishError {
    fn from(failure: Failure) -> Self {
        match failure.reaction() {
            // A refusal of a record that names no envelope: the next attempt finds which one it is.
            Reaction::Retry | Reaction::RetryUntil(_) | Reaction::RejectRecord => PublishError::transient(failure),
            Reaction::Fenced => PublishError::Fenced,
            Reaction::Refused(remedy) | Reaction::Stop(remedy) => {
                PublishError::Fatal { what: format!("{failure}; {remedy}"), source: Some(Box::new(failure)) }
            }
        }
    }
}

/// What this program's librdkafka was built without, if that is the reason.
fn missing_feature(reason: &str) -> Option<&'static str> {
    let is_left_out = reason.contains("not available at build time") || reason.contains("recompile librdkafka");
    if !is_left_out {
        return None;
    }
    let features = [
        ("GSSAPI", "Kerberos, which this program can't be built with"),
        ("cyrus", "Kerberos, which this program can't be built with"),
        ("zstd", "Zstandard, which this program is built without: Cargo feature \"kafka-zstd\""),
        ("OpenSSL", "TLS, which this program is built without: Cargo feature \"kafka-ssl\""),
        ("openssl", "TLS, which this program is built without: Cargo feature \"kafka-ssl\""),
    ];
    let found = features.into_iter().find(|(word, _)| reason.contains(word));
    Some(found.map_or("a part of librdkafka that this program is built without", |(_, missing)| missing))
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientContext as _;

    use super::*;

    #[test]
    fn a_fatal_failure_says_what_happened_and_what_to_do() {
        let failure = Failure::of("create the topic \"t\"", RDKafkaErrorCode::PolicyViolation, "policy");
        let words = PublishError::from(failure).to_string();
        assert!(words.contains("can't create the topic \"t\": policy; "), "{words}");
        assert!(words.contains("create it by hand"), "{words}");
    }

    #[test]
    fn a_wrong_clock_is_tried_again_and_the_words_name_the_clock() {
        let code = RDKafkaErrorCode::InvalidTimestamp;
        let error = PublishError::from(Failure::of("deliver records", code, code));
        let PublishError::Transient(source) = error else { panic!("{error:?}") };
        assert!(source.to_string().contains("clocks"), "{source}");
    }

    #[test]
    fn an_authentication_error_that_passed_does_not_explain_a_later_failure() {
        let log = ClientLog::new("test");
        let lost = || Failure::of("commit", RDKafkaErrorCode::OperationTimedOut, "no answer");
        log.error(KafkaError::Global(RDKafkaErrorCode::Authentication), "token expired");
        let refused = lost().explained_by(&log);
        assert!(matches!(refused.reaction(), Reaction::Refused(_)), "{refused}");

        log.note_answer();
        let unrelated = lost().explained_by(&log);
        assert_eq!(unrelated.reaction(), Reaction::Retry);
        assert!(!unrelated.to_string().contains("token"), "{unrelated}");
    }

    #[test]
    fn refused_credentials_end_a_new_client_and_not_one_that_worked() {
        let refused = || Failure::of("publish", RDKafkaErrorCode::SaslAuthenticationFailed, "token expired");
        assert!(matches!(PublishError::from(refused()), PublishError::Fatal { .. }));
        assert!(matches!(refused().of_working_client(), PublishError::Transient(_)));
        let other = Failure::of("publish", RDKafkaErrorCode::TopicAuthorizationFailed, "no right");
        assert!(matches!(other.of_working_client(), PublishError::Fatal { .. }));
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

    #[test]
    fn a_setting_that_this_build_lacks_names_the_feature() {
        let reasons = [
            (
                "Unsupported value \"ssl\" for configuration property \"security.protocol\": OpenSSL not available at build time",
                "kafka-ssl",
            ),
            (
                "Unsupported value \"zstd\" for configuration property \"compression.codec\": libzstd not available at build time",
                "kafka-zstd",
            ),
            (
                "Configuration property \"sasl.kerberos.keytab\" not supported in this build: cyrus-sasl/libsasl2 not available at build time",
                "Kerberos",
            ),
        ];
        for (reason, named) in reasons {
            let result = rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID;
            let error = KafkaError::ClientConfig(result, reason.to_owned(), "a.setting".to_owned(), "value".to_owned());
            let words = PublishError::from(Failure::new("set up the Kafka client", &error)).to_string();
            assert!(words.contains(named) && words.contains("a.setting") && !words.contains("correct"), "{words}");
        }
        let reason =
            "No provider for SASL mechanism SCRAM-SHA-512: recompile librdkafka with libsasl2 or openssl support.";
        let words = Failure::new("set up the Kafka client", &KafkaError::ClientCreation(reason.to_owned())).to_string();
        assert!(words.contains("kafka-ssl"), "{words}");
    }
}
