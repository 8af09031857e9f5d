//! The suite of publishers on Kafka, transactional and idempotent, as `read_committed` readers see it.

use std::sync::Arc;

use async_trait::async_trait;
use change_feed::conformance::publisher::{self, Capabilities, Destination, PublisherHarness, SeenRecord};
use change_feed::conformance::{HarnessError, NotConforming};
use change_feed::{FeedName, KafkaPublisher, Publisher};
use test_support::kafka;
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
        kafka::create_topic(&name, PARTITIONS, &[("max.message.bytes", &MAX_MESSAGE_BYTES.to_string())]).await;
        Ok(Box::new(Topic { name: Arc::from(name), transactional: self.transactional }))
    }
}

/// A JSON payload that stays over a limit however it is compressed.
fn incompressible(bytes: usize) -> String {
    let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(bytes * 3).collect();
    format!(r#"{{"text":"{text}"}}"#)
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
        let builder = KafkaPublisher::builder(&kafka::brokers(), feed);
        let builder = if self.transactional { builder } else { builder.idempotent() };
        Ok(Box::new(builder.build()?))
    }

    async fn records(&self) -> Result<Vec<SeenRecord>, HarnessError> {
        let name = Arc::clone(&self.name);
        let read = move || kafka::read(&kafka::brokers(), &name, "read_committed");
        Ok(tokio::task::spawn_blocking(read).await?.into_iter().map(seen).collect())
    }
}

fn seen(record: kafka::Record) -> SeenRecord {
    let headers = record.headers.into_iter();
    SeenRecord {
        partition: record.partition.unsigned_abs(),
        key: record.key.unwrap_or_default(),
        headers: headers.map(|(name, value)| (name, value.unwrap_or_default())).collect(),
        payload: record.value,
    }
}
