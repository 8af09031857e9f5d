//! Why a reader can't go on.

use std::error::Error;
use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::consumer::record::RecordError;
use crate::kafka::error_table::{Reaction, classify};
use crate::kafka::failure::Failure;

/// Why a reader can't go on, by what the caller does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReaderError {
    /// Again: the broker did not answer in time.
    #[error("the broker is not available at present")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Pass it over or stop: the next call goes on after it.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Start anew: the records at the next offset are gone, or never were.
    #[error("the records of the topic {topic:?} at the next offset of this reader are gone")]
    Gone {
        /// The topic.
        topic: Arc<str>,
        /// What the client says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Create it, or correct the name.
    #[error("there is no topic {0:?}")]
    NoTopic(Arc<str>),
    /// Read other partitions: the topic has no such partition. It may have been made anew with fewer of them.
    #[error("topic {topic:?} has no partition {partition}: it has {found} partitions")]
    NoPartition {
        /// The topic.
        topic: Arc<str>,
        /// The partition that was asked for.
        partition: u32,
        /// The number of partitions.
        found: usize,
    },
    /// The events of a partition must be taken in the order in which they were given. An event of a partition that was
    /// revoked can't be taken either: its effect may be another reader's by now.
    #[error("the event at {partition}/{offset} is not the next one of its partition to be taken")]
    NotNext {
        /// The partition.
        partition: u32,
        /// The offset of the event.
        offset: u64,
    },
    /// Again: the progress of the consumer can't be read.
    #[error("the progress of the consumer can't be read")]
    Progress(#[source] Box<dyn Error + Send + Sync>),
    /// Open a new reader: the topic has another number of partitions than when this one was opened.
    #[error("topic {topic:?} has {found} partitions, and had {opened} when the reader was opened")]
    Repartitioned {
        /// The topic.
        topic: Arc<str>,
        /// The number of partitions when the reader was opened.
        opened: usize,
        /// The number of partitions now.
        found: usize,
    },
    /// Stop: trying again changes nothing before somebody changes the set-up, as the remedy says.
    #[error("the topic can't be read: {remedy}")]
    Fatal {
        /// What to change.
        remedy: &'static str,
        /// What the client says.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// What an error that the client reports means for its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The client tries again by itself.
    Passing,
    /// The credentials were refused. The client tries again by itself, and a refreshed token or password may help.
    Refused(&'static str),
    /// The records at the next offset are not there.
    Gone,
    /// The topic is not there, or the broker does not know it yet.
    NoTopic,
    /// Somebody must change the set-up first.
    Fatal(&'static str),
}

impl Fate {
    pub(super) fn of(error: &KafkaError) -> Self {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let is_fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        Self::of_code(if is_fatal { RDKafkaErrorCode::Fatal } else { code })
    }

    fn of_code(code: RDKafkaErrorCode) -> Self {
        use RDKafkaErrorCode as Code;
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => Self::Gone,
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => Self::NoTopic,
            Code::TopicAuthorizationFailed => Self::Fatal("grant the reader's user DESCRIBE and READ on it"),
            // It joins no group and needs no right on one.
            Code::GroupAuthorizationFailed => Self::Passing,
            Code::Fatal => Self::Fatal("open another reader; the log shows the error of its client"),
            code => match classify(code) {
                Reaction::Stop(remedy) => Self::Fatal(remedy),
                Reaction::Refused(remedy) => Self::Refused(remedy),
                Reaction::Retry | Reaction::RetryUntil(_) | Reaction::RejectRecord | Reaction::Fenced => Self::Passing,
            },
        }
    }
}

impl ReaderError {
    /// The error of a query that failed, for a reader that is being opened.
    pub(super) fn of_new_reader(topic: &Arc<str>, failure: Failure) -> Self {
        match Fate::of_code(failure.code()) {
            Fate::Passing | Fate::Gone => Self::Unavailable(Box::new(failure)),
            Fate::NoTopic => Self::NoTopic(Arc::clone(topic)),
            Fate::Refused(remedy) | Fate::Fatal(remedy) => Self::Fatal { remedy, source: Box::new(failure) },
        }
    }

    /// The error of a query that failed, for a reader that has read before: refused credentials may pass.
    pub(super) fn of_working_reader(topic: &Arc<str>, failure: Failure) -> Self {
        match Fate::of_code(failure.code()) {
            Fate::Refused(_) => Self::Unavailable(Box::new(failure)),
            _ => Self::of_new_reader(topic, failure),
        }
    }

    /// The error of settings that no client can be made with.
    pub(super) fn settings(failure: Failure) -> Self {
        let remedy = match failure.reaction() {
            Reaction::Stop(remedy) => remedy,
            _ => "correct the setting",
        };
        Self::Fatal { remedy, source: Box::new(failure) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_the_client_names_the_next_move() {
        use RDKafkaErrorCode as Code;
        let fate = |code| Fate::of(&KafkaError::MessageConsumption(code));
        for code in [Code::BrokerTransportFailure, Code::AllBrokersDown, Code::Resolve, Code::GroupAuthorizationFailed]
        {
            assert_eq!(fate(code), Fate::Passing, "{code:?}");
        }
        assert_eq!(fate(Code::OffsetOutOfRange), Fate::Gone);
        assert_eq!(fate(Code::UnknownTopicOrPartition), Fate::NoTopic);
        for code in [Code::Authentication, Code::SSL] {
            assert!(matches!(fate(code), Fate::Refused(_)), "{code:?}");
        }
        for code in [Code::TopicAuthorizationFailed, Code::InvalidArgument] {
            assert!(matches!(fate(code), Fate::Fatal(_)), "{code:?}");
        }
        let fatal = KafkaError::MessageConsumptionFatal(Code::Fail);
        assert!(matches!(Fate::of(&fatal), Fate::Fatal(_)));
    }

    #[test]
    fn a_failure_says_what_to_do_and_keeps_its_source() {
        let failure = Failure::of("query", RDKafkaErrorCode::TopicAuthorizationFailed, "said the broker");
        let error = ReaderError::of_new_reader(&Arc::from("t"), failure);
        assert!(error.to_string().contains("grant the reader's user"), "{error}");
        assert!(error.source().is_some_and(|source| source.to_string().contains("said the broker")));
    }
}
