//! librdkafka's consumer of one topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::JoinHandle;

use super::error::ReaderError;
use crate::kafka::client_log::ClientLog;
use crate::kafka::cluster_settings::{ClusterSettings, Isolation};
use crate::kafka::deadline::retire;
use crate::kafka::failure::Failure;

type Consumer = StreamConsumer<ClientLog>;

/// How long a client that lives may take to answer.
const LIVENESS_LIMIT: Duration = Duration::from_secs(5);

/// A client that reads one topic.
pub(super) struct Client {
    settings: ClusterSettings,
    topic: Arc<str>,
    consumer: Arc<Consumer>,
}

/// The offsets between which a partition's committed records are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watermarks {
    pub(super) low: u64,
    /// The last stable offset.
    pub(super) end: u64,
}

impl Client {
    /// Connects to nobody yet.
    pub(super) fn new(settings: ClusterSettings, topic: Arc<str>) -> Result<Self, ReaderError> {
        let consumer = consumer(&settings)?;
        Ok(Self { settings, topic, consumer })
    }

    /// Puts another client in the place of this one, which reads from these offsets.
    pub(super) fn replace(&mut self, next: impl IntoIterator<Item = (u32, u64)>) -> Result<(), ReaderError> {
        let successor = Self::new(self.settings.clone(), Arc::clone(&self.topic))?;
        successor.assign(next)?;
        *self = successor;
        Ok(())
    }

    pub(super) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Reads from these offsets, the next one of each partition.
    pub(super) fn assign(&self, next: impl IntoIterator<Item = (u32, u64)>) -> Result<(), ReaderError> {
        let mut list = TopicPartitionList::new();
        let assigned = next.into_iter().try_for_each(|(partition, next)| {
            // Kafka numbers partitions and offsets with signed integers, and gave us these.
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            let offset = Offset::Offset(i64::try_from(next).unwrap_or(i64::MAX));
            list.add_partition_offset(&self.topic, partition, offset)
        });
        let assigned = assigned.and_then(|()| self.consumer.assign(&list));
        assigned.map_err(|error| ReaderError::settings(Failure::new("read from the offsets", &error)))
    }

    /// Ceases to read a partition without a report, as librdkafka has done by itself.
    #[cfg(test)]
    pub(super) fn lose(&self, partition: i32) {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        self.consumer.pause(&list).expect("a partition that it reads");
    }

    /// The next message, or news of the partitions and the connection. Dropping the future loses nothing.
    pub(super) async fn receive(&self) -> Result<BorrowedMessage<'_>, KafkaError> {
        self.consumer.recv().await
    }

    /// Notes that the broker has answered: the errors before that have passed.
    pub(super) fn note_answer(&self) {
        self.consumer.context().note_answer();
    }

    /// Begins a query for the topic's metadata. The result is whether there was any answer.
    pub(super) fn check_liveness(&self) -> JoinHandle<bool> {
        let (consumer, topic) = (Arc::clone(&self.consumer), Arc::clone(&self.topic));
        tokio::task::spawn_blocking(move || consumer.fetch_metadata(Some(&topic), LIVENESS_LIMIT).is_ok())
    }

    /// Where each partition begins and ends. `limit` is that of each query.
    pub(super) async fn watermarks(&self, limit: Duration) -> Result<BTreeMap<u32, Watermarks>, Failure> {
        let stopped = |error| Failure::of("query the ends of the partitions", RDKafkaErrorCode::Fail, error);
        // The task neither panics nor is it aborted, unless the runtime goes down with it.
        self.query_watermarks(limit).await.unwrap_or_else(|error| Err(stopped(error)))
    }

    /// Begins to query where each partition begins and ends.
    pub(super) fn query_watermarks(&self, limit: Duration) -> JoinHandle<Result<BTreeMap<u32, Watermarks>, Failure>> {
        let (consumer, topic) = (Arc::clone(&self.consumer), Arc::clone(&self.topic));
        tokio::task::spawn_blocking(move || {
            let found = query_watermarks(&consumer, &topic, limit);
            found.map_err(|failure| failure.explained_by(consumer.context()))
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.consumer.context().hush();
        retire(Arc::clone(&self.consumer));
    }
}

fn consumer(settings: &ClusterSettings) -> Result<Arc<Consumer>, ReaderError> {
    let consumer = Consumer::from_config_and_context(&settings.reader(Isolation::Committed), ClientLog::new("reader"));
    let refused = |error| ReaderError::settings(Failure::new("set up the Kafka reader", &error));
    consumer.map(Arc::new).map_err(refused)
}

fn query_watermarks(consumer: &Consumer, topic: &str, limit: Duration) -> Result<BTreeMap<u32, Watermarks>, Failure> {
    let doing = || format!("query where the topic {topic:?} ends");
    let metadata = consumer.fetch_metadata(Some(topic), limit).map_err(|error| Failure::new(doing(), &error))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let unknown = RDKafkaErrorCode::UnknownTopicOrPartition;
    let partitions = match found.map(|found| (found.error().map(RDKafkaErrorCode::from), found.partitions())) {
        None | Some((None, [])) => return Err(Failure::of(doing(), unknown, unknown)),
        Some((Some(code), _)) => return Err(Failure::of(doing(), code, code)),
        Some((None, partitions)) => partitions,
    };
    let query = |id: i32| {
        let answer = consumer.fetch_watermarks(topic, id, limit);
        let (low, end) = answer.map_err(|error| Failure::new(doing(), &error))?;
        Ok((id.unsigned_abs(), Watermarks { low: low.unsigned_abs(), end: end.unsigned_abs() }))
    };
    partitions.iter().map(|partition| query(partition.id())).collect()
}
