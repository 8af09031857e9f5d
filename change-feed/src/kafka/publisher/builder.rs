//! How a publisher to Kafka is set up.

use std::time::Duration;

use super::publisher::{KafkaPublisher, Mode};
use crate::feed::identity::FeedName;
use crate::kafka::cluster_settings::ClusterSettings;
use crate::kafka::new_topic::NewTopicPlan;
use crate::publisher::PublishError;

/// What the publisher's promises rest on: a user's setting of these is refused.
const RESERVED: [&str; 20] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "client.id",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "group.id",
    "isolation.level",
    "log.connection.close",
    "log.queue",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.timeout.ms",
    "metadata.broker.list",
    "partitioner",
    "request.required.acks",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Sets up a [`KafkaPublisher`].
///
/// ```no_run
/// use change_feed::{FeedName, KafkaPublisher};
///
/// let feed = FeedName::new("orders")?;
/// let publisher = KafkaPublisher::builder("broker-1:9093,broker-2:9093", &feed)
///     .create_topics(12)
///     .set("security.protocol", "sasl_ssl")
///     .set("sasl.mechanism", "SCRAM-SHA-512")
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct KafkaPublisherBuilder {
    pub(super) settings: ClusterSettings,
    pub(super) feed: FeedName,
    pub(super) mode: Mode,
    pub(super) create_partitions: Option<u32>,
    pub(super) replication: Option<u16>,
    pub(super) transaction_timeout: Duration,
    pub(super) time_limit: Duration,
    pub(super) metadata_check_interval: Duration,
}

impl KafkaPublisherBuilder {
    pub(super) fn new(brokers: &str, feed: &FeedName) -> Self {
        Self {
            settings: ClusterSettings::new(brokers, format!("change-feed.{feed}")),
            feed: feed.clone(),
            mode: Mode::Transactional,
            create_partitions: None,
            replication: None,
            transaction_timeout: Duration::from_secs(45),
            time_limit: Duration::from_secs(20),
            metadata_check_interval: Duration::from_secs(300),
        }
    }

    /// Publishes idempotently, without transactions: see [`KafkaPublisher`].
    pub fn idempotent(mut self) -> Self {
        self.mode = Mode::Idempotent;
        self
    }

    /// Publishes idempotently to a broker that lives no longer than this process.
    pub(crate) fn ephemeral(mut self) -> Self {
        self.mode = Mode::Ephemeral;
        self
    }

    /// Makes missing topics, each with this number of partitions: those of events with unlimited retention and
    /// no compaction, those of flat rows compacted. Without this a missing topic is an error.
    ///
    /// The number can't be changed later without breaking the order of keys: choose it for the
    /// consumers of years to come. 12 can be shared evenly by 2, 3, 4, 6 and 12 of them.
    pub fn create_topics(mut self, partitions: u32) -> Self {
        self.create_partitions = Some(partitions);
        self
    }

    /// The replication factor of topics that this publisher makes, that of the position included.
    /// By default the cluster's (`default.replication.factor`). In production: at least 3, with
    /// `min.insync.replicas` 2.
    pub fn replication_factor(mut self, replicas: u16) -> Self {
        self.replication = Some(replicas);
        self
    }

    /// How long a transaction may stay open before the cluster aborts it. 45 seconds by default, at
    /// least 2, and at most the broker's `transaction.max.timeout.ms`.
    ///
    /// A database transaction that takes longer to publish can't be published in one piece: a source that splits large
    /// ones must do it earlier. It is also how long readers with `read_committed` wait, up to 10 seconds more, when a
    /// relay dies in the middle of a transaction and none follows; the next one ends the wait at once.
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.transaction_timeout = timeout;
        self
    }

    /// After how long `publish` and `resume` give up with a transient error. 20 seconds by default.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// How often a running feed looks whether its topics have been repartitioned or replaced. 5
    /// minutes by default. (It partitions by the number that it found at its start in any case.)
    pub fn metadata_check_interval(mut self, interval: Duration) -> Self {
        self.metadata_check_interval = interval;
        self
    }

    /// Sets a [property of librdkafka], for security, compression or batching. A value is never
    /// shown in an error, a log line or `Debug`.
    ///
    /// [property of librdkafka]: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
    pub fn set(mut self, property: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.set(property, value);
        self
    }

    /// Checks the settings. Connects to nobody: that is [`resume`](crate::publisher::Publisher::resume)'s.
    pub fn build(self) -> Result<KafkaPublisher, PublishError> {
        if let Some(reserved) = self.settings.reserved(&RESERVED) {
            let what =
                format!("{reserved:?} can't be set: what the feed promises depends on the publisher's own value");
            return Err(PublishError::fatal(what));
        }
        let brokers = self.settings.check_brokers();
        brokers.map_err(|error| PublishError::fatal(format!("the Kafka brokers can't be found: {error}")))?;
        if self.create_partitions == Some(0) || self.replication == Some(0) {
            return Err(PublishError::fatal("a topic needs at least one partition and one replica"));
        }
        if self.transaction_timeout < Duration::from_secs(2) {
            return Err(PublishError::fatal("the transaction timeout must be at least 2 seconds"));
        }
        self.settings.check()?;
        super::producer::check(&self)?;
        Ok(KafkaPublisher::new(self))
    }

    /// What a topic that is missing is to be like, if it may be made.
    pub(super) fn new_topic(&self, is_compacted: bool) -> Option<NewTopicPlan> {
        let partitions = self.create_partitions?;
        let plan = if is_compacted { NewTopicPlan::rows } else { NewTopicPlan::events };
        Some(plan(partitions, self.replication))
    }

    pub(super) fn position_topic(&self) -> NewTopicPlan {
        NewTopicPlan::positions(self.replication)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> KafkaPublisherBuilder {
        KafkaPublisher::builder("127.0.0.1:1", &FeedName::new("orders").expect("a valid name"))
    }

    fn refused(builder: KafkaPublisherBuilder) -> String {
        match builder.build() {
            Err(error @ PublishError::Fatal { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_setting_that_the_promises_rest_on_is_refused_by_name() {
        for name in RESERVED {
            assert!(refused(builder().set(name, "1")).contains(name));
        }
    }

    #[test]
    fn a_setting_that_librdkafka_does_not_know_is_refused_without_its_value() {
        let words = refused(builder().set("sasl.pasword", "my-secret"));
        assert!(words.contains("sasl.pasword") && !words.contains("my-secret"), "{words}");
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused_before_anything_is_published() {
        refused(builder().set("security.protocol", "sasl_plaintext").set("sasl.mechanism", "no-such"));
        refused(builder().create_topics(0));
        refused(builder().transaction_timeout(Duration::from_secs(1)));
    }

    #[test]
    fn a_list_of_brokers_that_is_none_is_refused_without_its_password() {
        for brokers in [" ", "kafka://user:my-secret@a:1", "user:my-secret@a:1"] {
            let builder = KafkaPublisher::builder(brokers, &FeedName::new("orders").expect("a valid name"));
            let shown = format!("{builder:?} {}", refused(builder.clone()));
            assert!(shown.contains("HOST:PORT") && !shown.contains("my-secret"), "{shown}");
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let publisher = builder().set("sasl.password", "my-secret").build().expect("valid settings");
        assert!(!format!("{publisher:?}").contains("my-secret"));
    }
}
