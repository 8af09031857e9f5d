//! What each error code of Kafka means: the whole policy.

use rdkafka::error::RDKafkaErrorCode;

/// What follows from an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Try again, after a pause, with a new client. librdkafka's fatal errors end a client, not the feed.
    Retry,
    /// Try again. It passes once somebody has done what the text says.
    RetryUntil(&'static str),
    /// The credentials or certificates were refused. That passes where a token is refreshed or a password is rotated:
    /// only a client that never worked takes it for final. The text says what to check.
    Refused(&'static str),
    /// This record can't be published, now or later.
    RejectRecord,
    /// Another producer has taken this one's transactional id, or the coordinator gave it up.
    Fenced,
    /// Somebody must change the set-up first, and here is how.
    Stop(&'static str),
}

/// Classifies an error code. A code that is not named here stops the feed: a retry that never helps would hold the
/// source's log for ever.
pub(crate) fn classify(code: RDKafkaErrorCode) -> Reaction {
    use RDKafkaErrorCode as Code;
    match code {
        code if passes(code) => Reaction::Retry,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Reaction::Fenced,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize | Code::InvalidRecord => {
            Reaction::RejectRecord
        }
        Code::InvalidTimestamp => Reaction::RetryUntil(
            "compare the clocks of this machine and of the brokers, and the topic's message.timestamp.before.max.ms and \
             message.timestamp.after.max.ms",
        ),
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::DelegationTokenExpired
        | Code::DelegationTokenNotFound
        | Code::UnacceptableCredential => {
            Reaction::Refused("check the user name and the password (sasl.username, sasl.password) and the mechanism")
        }
        Code::SSL => Reaction::Refused("check security.protocol and the certificates (ssl.ca.location)"),
        Code::UnsupportedSASLMechanism | Code::IllegalSASLState | Code::SecurityDisabled => {
            Reaction::Stop("check security.protocol and sasl.mechanism against the cluster's listener")
        }
        Code::TopicAuthorizationFailed => Reaction::Stop(
            "grant the feed's user DESCRIBE, READ and WRITE on its topics (CREATE too, if it makes them)",
        ),
        Code::TransactionalIdAuthorizationFailed => {
            Reaction::Stop("grant the feed's user WRITE and DESCRIBE on its transactional id")
        }
        Code::ClusterAuthorizationFailed => {
            Reaction::Stop("grant the feed's user IDEMPOTENT_WRITE on the cluster (CREATE too, if it makes topics)")
        }
        Code::GroupAuthorizationFailed => Reaction::Stop("grant the feed's user READ on the group of its reader"),
        Code::DelegationTokenAuthDisabled
        | Code::DelegationTokenOwnerMismatch
        | Code::DelegationTokenRequestNotAllowed
        | Code::DelegationTokenAuthorizationFailed
        | Code::InvalidPrincipalType
        | Code::PrincipalDeserializationFailure => {
            Reaction::Stop("the cluster refuses this user: ask its administrator")
        }
        Code::InvalidTransactionTimeout => {
            Reaction::Stop("choose a transaction timeout that is at most the broker's transaction.max.timeout.ms")
        }
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedForMessageFormat => {
            Reaction::Stop("the broker does not support this: Apache Kafka 2.5 or later does")
        }
        Code::UnsupportedCompressionType => Reaction::Stop("choose another compression.type"),
        Code::InvalidTopic => Reaction::Stop("choose a name that Kafka takes for a topic"),
        Code::InvalidReplicationFactor => {
            Reaction::Stop("choose a replication factor that is at most the number of brokers")
        }
        Code::InvalidPartitions | Code::InvalidReplicaAssignment | Code::InvalidConfig | Code::PolicyViolation => {
            Reaction::Stop("the cluster does not allow such a topic: create it by hand, as its administrator wants it")
        }
        Code::InvalidArgument => Reaction::Stop("correct the setting"),
        Code::NotImplemented => Reaction::Stop("build the program with this feature, or choose another setting"),
        _ => Reaction::Stop("no retry is known to help: look for the cause in the brokers' logs, then start again"),
    }
}

/// Whether the error passes by itself, or with another client.
fn passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    let is_of_the_connection = matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::NetworkException
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::WaitCache
            | Code::WaitingForCoordinator
            | Code::NodeUpdate
            | Code::UnknownBroker
            | Code::BrokerDestroy
            | Code::DestroyBroker
            | Code::RebootstrapRequired
            // Bytes that were damaged or cut on the way.
            | Code::BadMessage
            | Code::InvalidMessage
            | Code::Partial
            | Code::Underflow
    );
    let is_of_the_cluster = matches!(
        code,
        Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::PreferredLeaderNotAvailable
            | Code::EligibleLeadersNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::StaleBrokerEpoch
            | Code::StaleControllerEpoch
            | Code::NotController
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::TransactionCoordinatorFenced
            | Code::ISRInsufficient
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::ReassignmentInProgress
            | Code::KafkaStorageError
            | Code::LogDirNotFound
            | Code::ListenerNotFound
            | Code::OffsetNotAvailable
            | Code::OperationNotAttempted
            | Code::ThrottlingQuotaExceeded
            // Whether a topic is gone, or a broker does not know it yet, the next start finds out.
            | Code::UnknownTopic
            | Code::UnknownTopicId
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            // What a broker answers when it meets with a fault of its own, as at its end.
            | Code::Unknown
    );
    let is_of_the_client = matches!(
        code,
        Code::Fail
            | Code::Fatal
            | Code::State
            | Code::Inconsistent
            | Code::GaplessGuarantee
            | Code::Retry
            | Code::Outdated
            | Code::InProgress
            | Code::PreviousInProgress
            | Code::Conflict
            | Code::Interrupted
            | Code::CriticalSystemResource
            | Code::QueueFull
            | Code::PurgeQueue
            | Code::PurgeInflight
            | Code::NoOffset
            | Code::FetchSessionIdNotFound
            | Code::InvalidFetchSessionEpoch
    );
    let is_of_the_transaction = matches!(
        code,
        Code::ConcurrentTransactions
            | Code::OutOfOrderSequenceNumber
            | Code::DuplicateSequenceNumber
            | Code::UnknownProducerId
            | Code::InvalidProducerIdMapping
            | Code::InvalidTransactionalState
            | Code::UnstableOffsetCommit
    );
    is_of_the_connection || is_of_the_cluster || is_of_the_client || is_of_the_transaction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_names_the_next_move() {
        use RDKafkaErrorCode as Code;
        for code in [
            Code::BrokerTransportFailure,
            Code::CoordinatorLoadInProgress,
            Code::OutOfOrderSequenceNumber,
            Code::Inconsistent,
            Code::NotEnoughReplicas,
            Code::Unknown,
        ] {
            assert_eq!(classify(code), Reaction::Retry, "{code:?}");
        }
        for code in [Code::Fenced, Code::ProducerFenced, Code::InvalidProducerEpoch] {
            assert_eq!(classify(code), Reaction::Fenced, "{code:?}");
        }
        for code in [Code::MessageSizeTooLarge, Code::InvalidRecord] {
            assert_eq!(classify(code), Reaction::RejectRecord, "{code:?}");
        }
        for code in [Code::Authentication, Code::SaslAuthenticationFailed, Code::SSL] {
            assert!(matches!(classify(code), Reaction::Refused(_)), "{code:?}");
        }
        for code in [Code::TopicAuthorizationFailed, Code::InvalidTopic, Code::PolicyViolation] {
            assert!(matches!(classify(code), Reaction::Stop(_)), "{code:?}");
        }
    }

    #[test]
    fn a_wrong_clock_is_no_bad_record() {
        let reaction = classify(RDKafkaErrorCode::InvalidTimestamp);
        assert!(matches!(reaction, Reaction::RetryUntil(advice) if advice.contains("clocks")), "{reaction:?}");
    }

    #[test]
    fn a_code_that_nobody_has_thought_of_stops_the_feed_with_words() {
        use RDKafkaErrorCode as Code;
        for code in [Code::InvalidRequest, Code::InvalidRequiredAcks, Code::TelemetryTooLarge, Code::ReadOnly] {
            let reaction = classify(code);
            assert!(matches!(reaction, Reaction::Stop(remedy) if remedy.contains("no retry")), "{code:?} {reaction:?}");
        }
    }
}
