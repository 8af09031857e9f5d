//! A broker for development, in the process itself.

use std::fmt;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rdkafka::mocking::MockCluster;

use super::publisher::publisher::KafkaPublisher;
use crate::feed::identity::FeedName;
use crate::publisher::PublishError;

/// A broker that speaks the Kafka protocol, for development and demonstrations: librdkafka's mock
/// cluster, in this process, on loopback.
///
/// Any Kafka client can talk to it while the process lives, from another terminal too
/// (`kcat -b <bootstrap_servers> -L`).
///
/// # Limits
///
/// It keeps its records in memory and loses them with the process. Its `read_committed` readers
/// see aborted records, so it can't show that anything is exactly once. It has no Admin API: name the
/// topics at the start, or [create](Self::create_topic) them here.
///
/// ```
/// use change_feed::kafka::DevelopmentBroker;
///
/// let broker = DevelopmentBroker::start(&[("orders.events", 12)])?;
/// println!("kcat -b {} -t orders.events -C", broker.bootstrap_servers());
/// # Ok::<(), change_feed::kafka::DevelopmentBrokerError>(())
/// ```
pub struct DevelopmentBroker {
    bootstrap_servers: String,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// Why the development broker refused a call.
#[derive(Debug, thiserror::Error)]
#[error("the development broker can't {doing}: {reason}")]
pub struct DevelopmentBrokerError {
    doing: String,
    reason: String,
}

/// A topic that the broker's thread is to make.
struct Order {
    topic: String,
    partitions: u32,
    answer: mpsc::Sender<Result<(), DevelopmentBrokerError>>,
}

impl DevelopmentBroker {
    /// Starts a broker with these topics and their numbers of partitions.
    ///
    /// It listens on a port of loopback that the system chooses.
    pub fn start(topics: &[(&str, u32)]) -> Result<Self, DevelopmentBrokerError> {
        let (started, start) = mpsc::channel();
        let (orders, inbox) = mpsc::channel();
        let topics: Vec<_> = topics.iter().map(|(name, partitions)| ((*name).to_owned(), *partitions)).collect();
        // The cluster's handle must stay on one thread.
        let thread = thread::Builder::new()
            .name("development-broker".to_owned())
            .spawn(move || serve(&topics, &started, &inbox))
            .map_err(|error| DevelopmentBrokerError::new("start", error))?;
        let bootstrap_servers =
            start.recv().map_err(|_| DevelopmentBrokerError::new("start", "its thread ended"))??;
        tracing::info!(target: "change_feed::kafka", bootstrap_servers, "started the development broker");
        Ok(Self { bootstrap_servers, orders: Some(orders), thread: Some(thread) })
    }

    /// Where it listens, as Kafka's clients take it: `127.0.0.1:PORT`.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// A publisher to this broker: idempotent, and [ephemeral] as the broker is.
    ///
    /// [ephemeral]: crate::publisher::KeptPosition::Ephemeral
    pub fn publisher(&self, feed: &FeedName) -> Result<KafkaPublisher, PublishError> {
        KafkaPublisher::builder(&self.bootstrap_servers, feed).ephemeral().build()
    }

    /// Makes another topic.
    pub fn create_topic(&self, topic: &str, partitions: u32) -> Result<(), DevelopmentBrokerError> {
        let (answer, answered) = mpsc::channel();
        let order = Order { topic: topic.to_owned(), partitions, answer };
        let gone = || DevelopmentBrokerError::new(format!("create the topic {topic:?}"), "its thread ended");
        self.orders.as_ref().ok_or_else(gone)?.send(order).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

impl Drop for DevelopmentBroker {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for DevelopmentBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevelopmentBroker").field("bootstrap_servers", &self.bootstrap_servers).finish_non_exhaustive()
    }
}

impl DevelopmentBrokerError {
    fn new(doing: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { doing: doing.into(), reason: reason.to_string() }
    }
}

/// Holds the cluster until the last sender of orders is gone.
fn serve(
    topics: &[(String, u32)],
    started: &mpsc::Sender<Result<String, DevelopmentBrokerError>>,
    inbox: &mpsc::Receiver<Order>,
) {
    let cluster = MockCluster::new(1).map_err(|error| DevelopmentBrokerError::new("start", error));
    let cluster = cluster.and_then(|cluster| {
        for (topic, partitions) in topics {
            create(&cluster, topic, *partitions)?;
        }
        Ok(cluster)
    });
    match cluster {
        Err(error) => {
            // Nobody waits any more if the send fails.
            let _ = started.send(Err(error));
        }
        Ok(cluster) => {
            let _ = started.send(Ok(cluster.bootstrap_servers()));
            for order in inbox {
                let _ = order.answer.send(create(&cluster, &order.topic, order.partitions));
            }
        }
    }
}

fn create<C: rdkafka::ClientContext>(
    cluster: &MockCluster<'_, C>,
    topic: &str,
    partitions: u32,
) -> Result<(), DevelopmentBrokerError> {
    let doing = || format!("create the topic {topic:?} with {partitions} partitions");
    let count = i32::try_from(partitions).ok().filter(|count| *count > 0);
    let count = count.ok_or_else(|| DevelopmentBrokerError::new(doing(), "that is no number of partitions"))?;
    cluster.create_topic(topic, count, 1).map_err(|error| DevelopmentBrokerError::new(doing(), error))
}
