//! The broker that the events go to.

use std::sync::Arc;

use change_feed::kafka::{BrokerList, DevelopmentBroker, DevelopmentBrokerError};
use change_feed::{FeedName, KafkaPublisher, PublishError, Publisher};
use uuid::Uuid;

/// The partitions of a topic that the storefront makes: they can be shared evenly by 2, 3, 4, 6 and 12 consumers.
pub(crate) const PARTITIONS: u32 = 12;

/// The broker that the events go to: a Kafka cluster, or the development broker in this process.
#[derive(Debug, Clone)]
pub(crate) struct Broker {
    kind: Arc<Kind>,
}

#[derive(Debug)]
enum Kind {
    Development { broker: DevelopmentBroker, instance: Uuid },
    Kafka(BrokerList),
}

impl Broker {
    /// The cluster of these brokers, without connecting to it; or, without brokers, a development broker with the topic.
    pub(crate) fn start(brokers: Option<BrokerList>, topic: &str) -> Result<Self, DevelopmentBrokerError> {
        let kind = match brokers {
            Some(brokers) => Kind::Kafka(brokers),
            None => {
                let broker = DevelopmentBroker::start(&[(topic, PARTITIONS)])?;
                Kind::Development { broker, instance: Uuid::now_v7() }
            }
        };
        Ok(Self { kind: Arc::new(kind) })
    }

    /// Where it is, as Kafka's clients take it.
    pub(crate) fn bootstrap_servers(&self) -> &str {
        match &*self.kind {
            Kind::Development { broker, .. } => broker.bootstrap_servers(),
            Kind::Kafka(brokers) => brokers.as_str(),
        }
    }

    /// Whether it ends with this process.
    pub(crate) fn is_development(&self) -> bool {
        matches!(&*self.kind, Kind::Development { .. })
    }

    /// Identifies a development broker; the same for all Kafka clusters.
    pub(crate) fn instance(&self) -> Uuid {
        match &*self.kind {
            Kind::Development { instance, .. } => *instance,
            Kind::Kafka(_) => Uuid::nil(),
        }
    }

    /// What it is, in words.
    pub(crate) fn words(&self) -> String {
        match &*self.kind {
            Kind::Development { broker, .. } => {
                let place = broker.bootstrap_servers();
                format!("development broker: in memory, gone when this program ends, at {place}")
            }
            Kind::Kafka(brokers) => format!("Kafka, at {brokers}"),
        }
    }

    /// A publisher for a relay of this feed.
    pub(crate) fn publisher(&self, feed: &FeedName) -> Result<Box<dyn Publisher>, PublishError> {
        let publisher = match &*self.kind {
            Kind::Development { broker, .. } => broker.publisher(feed)?,
            Kind::Kafka(brokers) => {
                KafkaPublisher::builder(brokers.as_str(), feed).create_topics(PARTITIONS).build()?
            }
        };
        Ok(Box::new(publisher))
    }
}
