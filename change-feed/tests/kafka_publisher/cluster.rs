//! The real cluster of the tests, and feeds and topics that belong to one test alone.

use std::sync::Arc;
use std::time::Instant;

use change_feed::kafka::KafkaPublisherBuilder;
use change_feed::publisher::{KeptPosition, Resume, Resumed};
use change_feed::{
    Checkpoint, Epoch, FeedIdentity, FeedName, KafkaPublisher, Position, PublishError, Publisher, PublisherIdentity,
    SourceIdentity,
};
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
pub(crate) use test_support::PATIENCE;
use test_support::kafka::{self, ends};
pub(crate) use test_support::kafka::{
    add_partitions, admin, brokers, create_topic, delete_topic, partitions, wait_until_stable,
};
use uuid::Uuid;

/// A feed and its topic, which no other test knows.
pub(crate) struct Place {
    pub(crate) feed: FeedName,
    pub(crate) topic: Arc<str>,
}

impl Place {
    /// With no topic yet.
    pub(crate) fn unused() -> Self {
        let id = Uuid::now_v7().simple();
        Self::of(FeedName::new(format!("feed_{id}")).expect("a valid name"))
    }

    /// The place of this feed.
    pub(crate) fn of(feed: FeedName) -> Self {
        Self { topic: Arc::from(format!("{feed}.events")), feed }
    }

    pub(crate) async fn with_topic(partitions: i32) -> Self {
        Self::with_topic_that_has(partitions, &[]).await
    }

    pub(crate) async fn with_topic_that_has(partitions: i32, config: &[(&str, &str)]) -> Self {
        let place = Self::unused();
        create_topic(&place.topic, partitions, config).await;
        place
    }

    pub(crate) fn positions(&self) -> String {
        format!("{}.positions", self.feed)
    }

    pub(crate) fn builder(&self) -> KafkaPublisherBuilder {
        KafkaPublisher::builder(&brokers(), &self.feed)
    }

    pub(crate) fn transactional(&self) -> KafkaPublisher {
        self.builder().build().expect("valid settings")
    }

    pub(crate) fn source(&self) -> SourceIdentity {
        SourceIdentity::new("test", "one", "public.order_events")
    }

    /// As a relay does: it tries again while the cluster is busy.
    pub(crate) async fn resume(&self, publisher: &dyn Publisher) -> Resumed {
        let start = Instant::now();
        loop {
            match self.try_resume(publisher).await {
                Ok(resumed) => return resumed,
                Err(PublishError::Transient(cause)) => assert!(start.elapsed() < PATIENCE, "never: {cause}"),
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    /// As a relay does that has enrolled the feed at its source.
    pub(crate) async fn try_resume(&self, publisher: &dyn Publisher) -> Result<Resumed, PublishError> {
        self.try_resume_from(publisher, &self.source(), &[Arc::clone(&self.topic)]).await
    }

    pub(crate) async fn try_resume_from(
        &self,
        publisher: &dyn Publisher,
        source: &SourceIdentity,
        topics: &[Arc<str>],
    ) -> Result<Resumed, PublishError> {
        publisher.resume(&Resume::new(&self.feed, source, Some(&self.enrolled(source)), topics)).await
    }

    /// As a relay does that has won an election.
    pub(crate) async fn resume_newly_elected(&self, publisher: &dyn Publisher) -> Resumed {
        let (source, topics) = (self.source(), [Arc::clone(&self.topic)]);
        let enrolled = self.enrolled(&source);
        let request = Resume::new(&self.feed, &source, Some(&enrolled), &topics).newly_elected();
        publisher.resume(&request).await.expect("the cluster is there")
    }

    /// As a relay does whose router publishes rows to this topic.
    pub(crate) async fn resume_compacting(&self, publisher: &dyn Publisher) -> Resumed {
        let (source, topics) = (self.source(), [Arc::clone(&self.topic)]);
        let enrolled = self.enrolled(&source);
        let request = Resume::new(&self.feed, &source, Some(&enrolled), &topics).compacting(&topics);
        publisher.resume(&request).await.expect("the cluster is there")
    }

    fn enrolled(&self, source: &SourceIdentity) -> Checkpoint {
        let nowhere = PublisherIdentity::new("kafka-transactional", "");
        let identity = FeedIdentity::new(self.feed.clone(), Epoch::FIRST, source.clone(), nowhere);
        Checkpoint::new(identity, Position::ORIGIN)
    }
}

pub(crate) async fn set_topic(topic: &str, key: &str, value: &str) {
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
    let answer = admin().alter_configs([&change], &AdminOptions::new()).await;
    answer.expect("the cluster is there")[0].as_ref().expect("a setting of topics");
}

pub(crate) async fn topic_setting(topic: &str, key: &str) -> String {
    let admin = admin();
    let answer = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &AdminOptions::new()).await;
    let config = answer.expect("the cluster is there").remove(0).expect("the topic exists");
    config.get(key).and_then(|entry| entry.value.clone()).expect("a setting of topics")
}

/// A record as a reader sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: String,
    pub(crate) payload: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Record {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl From<kafka::Record> for Record {
    fn from(record: kafka::Record) -> Self {
        let headers = record.headers.into_iter();
        Self {
            partition: record.partition,
            offset: record.offset,
            key: text(record.key.expect("every record has a key")),
            payload: record.value.map(text),
            headers: headers.map(|(name, value)| (name, text(value.expect("no header is null")))).collect(),
        }
    }
}

/// Everything that a `read_committed` reader sees, partition by partition, once no transaction is open.
pub(crate) fn read_committed(topic: &str) -> Vec<Record> {
    wait_until_stable(topic);
    read_committed_now(topic)
}

/// The same, while a transaction is open.
pub(crate) fn read_committed_now(topic: &str) -> Vec<Record> {
    read(&brokers(), topic, "read_committed")
}

pub(crate) fn read(brokers: &str, topic: &str, isolation: &str) -> Vec<Record> {
    kafka::read(brokers, topic, isolation).into_iter().map(Record::from).collect()
}

/// The end of a partition, undecided records included.
pub(crate) fn high_watermark(topic: &str, partition: i32) -> i64 {
    ends(&brokers(), topic).expect("the cluster is there")[partition as usize].all
}

/// Whether no transaction is open in the partition: its last stable offset is its end.
pub(crate) fn is_stable(topic: &str, partition: i32) -> bool {
    let end = ends(&brokers(), topic).expect("the cluster is there")[partition as usize];
    end.stable >= end.all
}

pub(crate) fn position_of(resumed: &Resumed) -> Option<String> {
    match &resumed.position {
        KeptPosition::At(checkpoint) => Some(checkpoint.position.to_string()),
        KeptPosition::NotYet => None,
        other => panic!("a transactional publisher keeps the position, and not {other:?}"),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("every text here is UTF-8")
}
