//! Kafka: what the publisher and a reader share, and the development broker.
//!
//! Everything here goes through [librdkafka]. Its log lines appear as `tracing` events with the
//! target `change_feed::kafka`; none holds a payload or a password.
//!
//! [librdkafka]: https://github.com/confluentinc/librdkafka

mod client_log;
mod cluster;
mod cluster_settings;
mod development_broker;
mod failure;
mod murmur2;
mod native;
mod new_topic;
mod produce;
mod watchdog;

pub use development_broker::{DevelopmentBroker, DevelopmentBrokerError};

pub(crate) use client_log::ClientLog;
pub(crate) use cluster::{Cluster, TopicLimits, describe_topics};
pub(crate) use cluster_settings::{ClusterSettings, Isolation};
pub(crate) use failure::{Failure, Verdict};
pub(crate) use murmur2::partition_of;
pub(crate) use native::{Commit, commit_transaction, flush};
pub(crate) use new_topic::NewTopicPlan;
pub(crate) use produce::{Record, RecordHeaders, produce};
pub(crate) use watchdog::{Deadline, retire, within};
