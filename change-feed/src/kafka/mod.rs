//! Kafka: the publisher, the reader, what they share, and the development broker.
//!
//! Everything here goes through [librdkafka]. Its log lines appear as `tracing` events with the
//! target `change_feed::kafka`; none holds a payload or a password.
//!
//! [librdkafka]: https://github.com/confluentinc/librdkafka

mod broker_list;
pub(crate) mod client_log;
pub(crate) mod cluster;
pub(crate) mod cluster_settings;
pub(crate) mod deadline;
mod development_broker;
pub(crate) mod error_table;
pub(crate) mod failure;
pub(crate) mod murmur2;
pub(crate) mod native;
pub(crate) mod new_topic;
pub(crate) mod outgoing_record;
mod publisher;
mod reader;
pub(crate) mod topic_name;

pub use crate::consumer::progress_store::Received;
pub use broker_list::{BrokerList, InvalidBrokerList};
pub use development_broker::{DevelopmentBroker, DevelopmentBrokerError};
pub use publisher::{KafkaPublisher, KafkaPublisherBuilder};
pub use reader::{KafkaReader, KafkaReaderBuilder, ReaderError};
pub use topic_name::{InvalidTopicName, check_topic_name};
