//! The suite of publishers on Kafka, transactional and idempotent, as `read_committed` readers see it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use change_feed::conformance::publisher::{self, Capabilities, Destination, PublisherHarness, SeenRecord};
use change_feed::conformance::{HarnessError, NotConforming};
use change_feed::{FeedName, KafkaPublisher, Publisher};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_transactional_publisher_keeps_the_contract() -> Result<(), NotConforming> {
    let report = publisher::run(&Kafka { transactional: true }).await.into_result()?;
    assert!(report.not_applicable().eq(["lost-answer-is-no-duplicate"]), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_idempotent_publisher_keeps_the_contract() -> Result<(), NotConforming> {
    publisher::run(&Kafka { transactional: false }).await.into_result().map(drop)
}

const PARTITIONS: i32 = 4;
const MAX_MESSAGE_BYTES: usize = 200_000;
const PATIENCE: Duration = Duration::from_secs(60);

struct Kafka {
    transactional: bool,
}

#[async_trait]
impl PublisherHarness for Kafka {
    fn capabilities(&self) -> Capabilities {
        let any = Capabilities::new().rejects(incompressible(MAX_MESSAGE_BYTES)).shared_by_feeds().publishes_rows();
        if self.transactional { any.keeps_position().transactional().fences() } else { any.may_show_rejected_parts() }
    }

    async fn destination(&self) -> Result<Box<dyn Destination>, HarnessError> {
        let name = format!("conformance.{}", Uuid::now_v7());
        let admin: AdminClient<DefaultClientContext> = config()?.create()?;
        let topic = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(-1));
        let limit = MAX_MESSAGE_BYTES.to_string();
        let topic = topic.set("max.message.bytes", &limit);
        let created = admin.create_topics([&topic], &AdminOptions::new()).await?;
        created
            .into_iter()
            .try_for_each(|result| result.map(drop))
            .map_err(|(topic, code)| format!("{topic}: {code}"))?;
        Ok(Box::new(Topic { name: Arc::from(name), transactional: self.transactional }))
    }
}

/// A JSON payload that stays over a limit however it is compressed.
fn incompressible(bytes: usize) -> String {
    let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(bytes * 3).collect();
    format!(r#"{{"text":"{text}"}}"#)
}

fn brokers() -> Result<String, HarnessError> {
    std::env::var("KAFKA_BROKERS").map_err(|_| {
        "KAFKA_BROKERS is not set: run scripts/test, or eval \"$(scripts/services env)\" after scripts/services up"
            .into()
    })
}

fn config() -> Result<ClientConfig, HarnessError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers()?);
    Ok(config)
}

struct Topic {
    name: Arc<str>,
    transactional: bool,
}

#[async_trait]
impl Destination for Topic {
    fn topic(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    async fn publisher(&self, feed: &FeedName) -> Result<Box<dyn Publisher>, HarnessError> {
        let builder = KafkaPublisher::builder(&brokers()?, feed);
        let builder = if self.transactional { builder } else { builder.idempotent() };
        Ok(Box::new(builder.build()?))
    }

    async fn records(&self) -> Result<Vec<SeenRecord>, HarnessError> {
        let name = Arc::clone(&self.name);
        tokio::task::spawn_blocking(move || read_committed(&name)).await?
    }
}

/// Everything up to the last stable offset of each partition.
fn read_committed(topic: &str) -> Result<Vec<SeenRecord>, HarnessError> {
    let reader: BaseConsumer = config()?
        .set("group.id", "conformance")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    reader.assign(&assignment)?;
    let (mut records, mut ended) = (Vec::new(), 0);
    let start = Instant::now();
    while ended < PARTITIONS {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => records.push(seen(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(error.into()),
            None if start.elapsed() > PATIENCE => return Err("the topic was not read to its end in time".into()),
            None => {}
        }
    }
    Ok(records)
}

fn seen(message: &BorrowedMessage<'_>) -> SeenRecord {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    SeenRecord {
        partition: message.partition().unsigned_abs(),
        key: message.key().unwrap_or_default().to_vec(),
        headers: headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect(),
        payload: message.payload().map(<[u8]>::to_vec),
    }
}
