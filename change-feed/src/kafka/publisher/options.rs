//! What a publisher is set up with.

use std::time::Duration;

use crate::feed::identity::FeedName;
use crate::kafka::cluster_settings::ClusterSettings;
use crate::kafka::new_topic::NewTopicPlan;

/// What a publisher is set up with. The builder's methods say what each of them means.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) settings: ClusterSettings,
    pub(super) feed: FeedName,
    pub(super) mode: Mode,
    pub(super) create_partitions: Option<u32>,
    pub(super) replication: Option<u16>,
    pub(super) transaction_timeout: Duration,
    pub(super) time_limit: Duration,
    pub(super) metadata_check_interval: Duration,
}

/// How records are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Transactional,
    Idempotent,
    /// Idempotent, to a broker that lives no longer than this process.
    Ephemeral,
}

impl Options {
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

    /// What a missing topic is to be like, if it may be made.
    pub(super) fn new_topic(&self, is_compacted: bool) -> Option<NewTopicPlan> {
        let partitions = self.create_partitions?;
        let plan = if is_compacted { NewTopicPlan::rows } else { NewTopicPlan::events };
        Some(plan(partitions, self.replication))
    }

    pub(super) fn position_topic(&self) -> NewTopicPlan {
        NewTopicPlan::positions(self.replication)
    }
}

impl Mode {
    /// As the feed's identity names it: a feed doesn't change its mode in silence.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Transactional => "kafka-transactional",
            Self::Idempotent | Self::Ephemeral => "kafka-idempotent",
        }
    }
}
