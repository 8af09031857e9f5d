//! The settings of a topic that is to be made.

use rdkafka::admin::{NewTopic, TopicReplication};

/// The broker's own default of the replication factor, as the protocol writes it (KIP-464).
const BROKER_DEFAULT: i32 = -1;

/// The partitions, replicas and settings of a topic that is to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewTopicPlan {
    pub(crate) partitions: u32,
    /// `None`: the broker's default.
    pub(crate) replication: Option<u16>,
    config: &'static [(&'static str, &'static str)],
}

impl NewTopicPlan {
    /// A topic of events: kept for ever and never compacted, so that a new consumer can start from
    /// the first event.
    pub(crate) fn events(partitions: u32, replication: Option<u16>) -> Self {
        Self {
            partitions,
            replication,
            config: &[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")],
        }
    }

    /// A topic of rows: of each key the newest record stays, and a tombstone removes it.
    pub(crate) fn rows(partitions: u32, replication: Option<u16>) -> Self {
        Self { partitions, replication, config: &[("cleanup.policy", "compact")] }
    }

    /// The topic of a feed's position: one partition, of which only the newest record counts.
    ///
    /// Only closed segments are compacted: at Kafka's default size of 1 GiB a quiet feed would
    /// keep weeks of old positions.
    pub(crate) fn positions(replication: Option<u16>) -> Self {
        Self { partitions: 1, replication, config: &[("cleanup.policy", "compact"), ("segment.bytes", "16777216")] }
    }

    pub(crate) fn named<'a>(&self, name: &'a str) -> NewTopic<'a> {
        let replication = self.replication.map_or(BROKER_DEFAULT, i32::from);
        // More partitions than i32 holds don't exist; the broker refuses what is too much.
        let partitions = i32::try_from(self.partitions).unwrap_or(i32::MAX);
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
        self.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
    }
}
