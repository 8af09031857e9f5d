//! Sets up a publisher to Kafka.

use std::time::Duration;

use super::options::{Mode, Options};
use super::producer;
use super::publisher::KafkaPublisher;
use crate::feed::identity::FeedName;
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

/// The most partitions that librdkafka makes a topic with.
const PARTITIONS_MAX: u32 = 100_000;

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
    options: Options,
}

impl KafkaPublisher {
    /// A publisher that shows all envelopes of a part or none, keeps the position beside them and
    /// fences older relays of the feed.
    ///
    /// `brokers` is `HOST:PORT`, or several of them with commas between. Connects to nobody yet.
    pub fn transactional(brokers: &str, feed: &FeedName) -> Result<Self, PublishError> {
        Self::builder(brokers, feed).build()
    }

    /// A publisher without transactions: less latency, and a change may come twice after a crash.
    ///
    /// `brokers` is `HOST:PORT`, or several of them with commas between. Connects to nobody yet.
    pub fn idempotent(brokers: &str, feed: &FeedName) -> Result<Self, PublishError> {
        Self::builder(brokers, feed).idempotent().build()
    }

    /// A transactional publisher with more to choose.
    pub fn builder(brokers: &str, feed: &FeedName) -> KafkaPublisherBuilder {
        KafkaPublisherBuilder { options: Options::new(brokers, feed) }
    }
}

impl KafkaPublisherBuilder {
    /// Publishes idempotently, without transactions: see [`KafkaPublisher`].
    pub fn idempotent(mut self) -> Self {
        self.options.mode = Mode::Idempotent;
        self
    }

    /// Publishes idempotently to a broker that lives no longer than this process.
    pub(crate) fn ephemeral(mut self) -> Self {
        self.options.mode = Mode::Ephemeral;
        self
    }

    /// Makes missing topics, each with this number of partitions: those of events with unlimited retention and
    /// no compaction, those of flat rows compacted. Without this a missing topic is an error.
    ///
    /// The number can't be changed later without breaking the order of keys: choose it for the
    /// consumers of years to come. 12 can be shared evenly by 2, 3, 4, 6 and 12 of them.
    pub fn create_topics(mut self, partitions: u32) -> Self {
        self.options.create_partitions = Some(partitions);
        self
    }

    /// The replication factor of topics that this publisher makes, that of the position included.
    /// By default the cluster's (`default.replication.factor`). In production: at least 3, with
    /// `min.insync.replicas` 2.
    pub fn replication_factor(mut self, replicas: u16) -> Self {
        self.options.replication = Some(replicas);
        self
    }

    /// How long a transaction may stay open before the cluster aborts it. 45 seconds by default, at
    /// least 2, and at most the broker's `transaction.max.timeout.ms`.
    ///
    /// A database transaction that takes longer to publish can't be published in one piece: a source that splits large
    /// ones must do it earlier. It is also how long readers with `read_committed` wait, up to 10 seconds more, when a
    /// relay dies in the middle of a transaction and none follows; the next one ends the wait at once.
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.options.transaction_timeout = timeout;
        self
    }

    /// After how long `publish` and `resume` give up with a transient error. 20 seconds by default.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.options.time_limit = limit;
        self
    }

    /// How often a running feed looks whether its topics have been repartitioned or replaced. 5
    /// minutes by default. (It partitions by the number that it found at its start in any case.)
    pub fn metadata_check_interval(mut self, interval: Duration) -> Self {
        self.options.metadata_check_interval = interval;
        self
    }

    /// Sets a [property of librdkafka], for security, compression or batching. A value is never
    /// shown in an error, a log line or `Debug`.
    ///
    /// TLS (`security.protocol` `ssl` or `sasl_ssl`, and every `ssl.` property) and the mechanisms SCRAM and OAUTHBEARER need
    /// the Cargo feature `kafka-ssl`, Zstandard needs `kafka-zstd`: [`build`](Self::build) says which one is missing.
    ///
    /// [property of librdkafka]: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
    pub fn set(mut self, property: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.settings.set(property, value);
        self
    }

    /// Checks the settings. Connects to nobody: [`resume`](crate::publisher::Publisher::resume) does.
    pub fn build(self) -> Result<KafkaPublisher, PublishError> {
        let Self { options } = self;
        if let Some(reserved) = options.settings.reserved(&RESERVED) {
            let what =
                format!("{reserved:?} can't be set: what the feed promises depends on the publisher's own value");
            return Err(PublishError::fatal(what));
        }
        let brokers = options.settings.check_brokers();
        brokers.map_err(|error| PublishError::fatal(format!("the list of Kafka brokers is wrong: {error}")))?;
        let has_partitions = |count| (1..=PARTITIONS_MAX).contains(&count);
        if !options.create_partitions.is_none_or(has_partitions) {
            return Err(PublishError::fatal(format!("a topic has 1 to {PARTITIONS_MAX} partitions")));
        }
        if options.replication == Some(0) {
            return Err(PublishError::fatal("a topic needs at least one replica"));
        }
        if options.transaction_timeout < Duration::from_secs(2) {
            return Err(PublishError::fatal("the transaction timeout must be at least 2 seconds"));
        }
        options.settings.check()?;
        producer::check(&options)?;
        Ok(KafkaPublisher::new(options))
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
        refused(builder().create_topics(PARTITIONS_MAX + 1));
        refused(builder().create_topics(1).replication_factor(0));
        refused(builder().transaction_timeout(Duration::from_secs(1)));
        refused(KafkaPublisher::builder(" ", &FeedName::new("orders").expect("a valid name")));
    }

    #[test]
    fn debug_shows_no_password() {
        let feed = FeedName::new("orders").expect("a valid name");
        let with_url = KafkaPublisher::builder("me:my-secret@127.0.0.1:1", &feed);
        let words = format!("{with_url:?} {}", refused(with_url.clone()));
        let builder = builder().set("sasl.password", "my-secret");
        let words = format!("{words} {builder:?} {:?}", builder.clone().build().expect("valid settings"));
        assert!(words.contains("127.0.0.1:1") && !words.contains("my-secret"), "{words}");
    }

    #[cfg(not(feature = "kafka-ssl"))]
    #[test]
    fn tls_that_this_build_lacks_is_named_by_its_feature() {
        let settings =
            [("security.protocol", "ssl"), ("security.protocol", "sasl_ssl"), ("ssl.ca.location", "/etc/ssl/ca.pem")];
        for (name, value) in settings {
            let words = refused(builder().set(name, value));
            assert!(words.contains("kafka-ssl") && words.contains(name), "{words}");
        }
        let scram = builder().set("security.protocol", "sasl_plaintext").set("sasl.mechanism", "SCRAM-SHA-512");
        let words = refused(scram.set("sasl.username", "me").set("sasl.password", "my-secret"));
        assert!(words.contains("kafka-ssl"), "{words}");
    }
}
