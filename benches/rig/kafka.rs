//! The Kafka cluster, and what the rig makes there: topics whose names begin with the run's own.

use std::env;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use tokio::time::{Instant, sleep};

use crate::outcome::Outcome;

/// The partitions of every topic of records, of the relay and of its rival.
pub(crate) const PARTITIONS: i32 = 12;

const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const LEADER_POLL: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_millis(100);
/// After this time without a record, the rest is considered lost.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// The header on the last record of a part of a transaction that was too large to be published whole.
const PART_HEADER: &str = "feed_tx_part";

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Events,
    /// Compacted, as topics of rows are.
    Rows,
    /// Compacted, one partition.
    Position,
}

/// What is in a topic, as `read_committed` consumers see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) records: u64,
    /// When the broker appended the first and the last record, in milliseconds of its clock.
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    /// Ends of parts of transactions that were not published whole.
    pub(crate) parts: u64,
}

/// A cluster.
#[derive(Debug, Clone)]
pub(crate) struct Kafka {
    pub(crate) brokers: String,
    /// The version, from the environment: a broker does not report it.
    pub(crate) version: String,
    run: String,
}

impl Kafka {
    pub(crate) fn find(run: &str) -> Outcome<Self> {
        let brokers =
            env::var("KAFKA_BROKERS").map_err(|_| "KAFKA_BROKERS is not set: eval \"$(scripts/services env)\"")?;
        let version = env::var("KAFKA_VERSION").unwrap_or_else(|_| "of unknown version".to_owned());
        let kafka = Self { brokers, version, run: run.to_owned() };
        kafka.consumer(&[])?.fetch_metadata(None, ANSWER_LIMIT)?;
        Ok(kafka)
    }

    /// Makes a topic in which the broker stamps each record with its own clock.
    pub(crate) async fn create_topic(&self, name: &str, kind: Kind) -> Outcome<()> {
        let partitions = if kind == Kind::Position { 1 } else { PARTITIONS };
        let cleanup = if kind == Kind::Events { "delete" } else { "compact" };
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1))
            .set("cleanup.policy", cleanup)
            .set("message.timestamp.type", "LogAppendTime")
            // Records of earlier measurements are deleted soon, to save disk.
            .set("file.delete.delay.ms", "1000");
        for answer in self.admin()?.create_topics([&topic], &AdminOptions::new()).await? {
            answer.map_err(|(name, code)| format!("the topic {name} can't be made: {code}"))?;
        }
        let deadline = Instant::now() + ANSWER_LIMIT;
        // Its partitions have leaders a moment later.
        while let Err(error) = self.offsets(name, partitions).await {
            if Instant::now() > deadline {
                return Err(error);
            }
            sleep(LEADER_POLL).await;
        }
        Ok(())
    }

    pub(crate) async fn delete_topics(&self, names: &[&str]) -> Outcome<()> {
        self.admin()?.delete_topics(names, &AdminOptions::new()).await?;
        Ok(())
    }

    /// Removes the topics that begin with the run's name.
    pub(crate) async fn clean_up(&self) -> Outcome<()> {
        let metadata = self.consumer(&[])?.fetch_metadata(None, ANSWER_LIMIT)?;
        let names = metadata.topics().iter().map(|topic| topic.name());
        let names: Vec<&str> = names.filter(|name| name.starts_with(&self.run)).collect();
        if names.is_empty() { Ok(()) } else { self.delete_topics(&names).await }
    }

    fn admin(&self) -> Outcome<AdminClient<DefaultClientContext>> {
        Ok(ClientConfig::new().set("bootstrap.servers", &self.brokers).create()?)
    }

    /// Makes a consumer that reads only committed records and commits no offsets.
    pub(crate) fn consumer(&self, settings: &[(&str, &str)]) -> Outcome<BaseConsumer> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", format!("{}-reader", self.run))
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", "32768");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        Ok(config.create()?)
    }

    /// Returns how many offsets a topic has used by now, markers of transactions included.
    pub(crate) async fn offsets(&self, topic: &str, partitions: i32) -> Outcome<u64> {
        let (kafka, topic) = (self.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || {
            let consumer = kafka.consumer(&[("isolation.level", "read_uncommitted")])?;
            let ends = (0..partitions).map(|partition| consumer.fetch_watermarks(&topic, partition, ANSWER_LIMIT));
            let sum: i64 = ends.map(|ends| Ok(ends?.1)).sum::<Result<i64, KafkaError>>()?;
            Ok(sum.unsigned_abs())
        })
        .await?
    }

    /// Reads a topic of records from its beginning to its present end.
    pub(crate) async fn read(&self, topic: &str) -> Outcome<Content> {
        let (kafka, topic) = (self.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || kafka.read_now(&topic)).await?
    }

    fn read_now(&self, topic: &str) -> Outcome<Content> {
        let consumer = self.consumer(&[])?;
        assign(&consumer, topic, Offset::Beginning)?;
        let mut content = Content { first_ms: i64::MAX, last_ms: i64::MIN, ..Content::default() };
        let (mut ended, mut silent) = (0, Duration::ZERO);
        while ended < PARTITIONS {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    let appended_ms = message.timestamp().to_millis().unwrap_or_default();
                    content.records += 1;
                    content.first_ms = content.first_ms.min(appended_ms);
                    content.last_ms = content.last_ms.max(appended_ms);
                    let mut headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                    content.parts += u64::from(headers.any(|header| header.key == PART_HEADER));
                    silent = Duration::ZERO;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => return Err(error.into()),
                None => silent += POLL,
            }
            if silent > SILENCE_MAX {
                return Err(format!("the topic {topic} can't be read to its end").into());
            }
        }
        Ok(content)
    }
}

/// Gives a consumer every partition of a topic.
pub(crate) fn assign(consumer: &BaseConsumer, topic: &str, from: Offset) -> Outcome<()> {
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(topic, partition, from)?;
    }
    Ok(consumer.assign(&partitions)?)
}
