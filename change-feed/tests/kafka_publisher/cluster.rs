//! The real cluster of the tests, and feeds and topics that belong to one test alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use change_feed::kafka::KafkaPublisherBuilder;
use change_feed::publisher::{KeptPosition, Resume, Resumed};
use change_feed::{
    Checkpoint, Epoch, FeedIdentity, FeedName, KafkaPublisher, Position, PublishError, Publisher, PublisherIdentity,
    SourceIdentity,
};
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use uuid::Uuid;

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn brokers() -> String {
    std::env::var("KAFKA_BROKERS").expect(
        "KAFKA_BROKERS is not set: run scripts/test, or scripts/services up and eval \"$(scripts/services env)\"",
    )
}

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

pub(crate) fn admin() -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers());
    config.create().expect("valid settings")
}

pub(crate) async fn create_topic(name: &str, partitions: i32, config: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    for (key, value) in config {
        topic = topic.set(key, value);
    }
    let answer = admin().create_topics([&topic], &AdminOptions::new()).await;
    for result in answer.expect("the cluster is there") {
        result.expect("the topic is new");
    }
    wait_for_partitions(name, partitions as usize).await;
}

pub(crate) async fn delete_topic(name: &str) {
    let answer = admin().delete_topics(&[name], &AdminOptions::new()).await;
    answer.expect("the cluster is there")[0].as_ref().expect("the topic exists");
    wait_for_partitions(name, 0).await;
}

pub(crate) async fn add_partitions(name: &str, count: usize) {
    let answer = admin().create_partitions([&NewPartitions::new(name, count)], &AdminOptions::new()).await;
    answer.expect("the cluster is there")[0].as_ref().expect("more than there were");
    wait_for_partitions(name, count).await;
}

/// How many partitions the topic has; 0 if there is none.
pub(crate) fn partitions(name: &str) -> usize {
    let metadata = reader("read_committed").fetch_metadata(Some(name), PATIENCE).expect("the cluster is there");
    metadata.topics()[0].partitions().len()
}

async fn wait_for_partitions(name: &str, count: usize) {
    let start = Instant::now();
    while partitions(name) != count {
        assert!(start.elapsed() < PATIENCE, "{name} never had {count} partitions");
        tokio::time::sleep(Duration::from_millis(20)).await;
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

/// Everything that a `read_committed` reader sees, partition by partition, once no transaction is open: the markers of
/// a commit reach the partitions' leaders after its answer.
pub(crate) fn read_committed(topic: &str) -> Vec<Record> {
    (0..partitions(topic) as i32).for_each(|partition| wait_until_stable(topic, partition));
    read_committed_now(topic)
}

/// The same, while a transaction is open.
pub(crate) fn read_committed_now(topic: &str) -> Vec<Record> {
    read(&brokers(), topic, "read_committed")
}

pub(crate) fn read(brokers: &str, topic: &str, isolation: &str) -> Vec<Record> {
    let reader = reader_of(brokers, isolation);
    let metadata = reader.fetch_metadata(Some(topic), PATIENCE).expect("the cluster is there");
    let partitions = metadata.topics()[0].partitions().len() as i32;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    }
    reader.assign(&assignment).expect("a valid assignment");
    let (mut records, mut ended) = (Vec::new(), 0);
    let start = Instant::now();
    while ended < partitions {
        assert!(start.elapsed() < PATIENCE, "{topic} was not read to its end: {records:?}");
        match reader.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
            Some(Ok(message)) => records.push(Record {
                partition: message.partition(),
                offset: message.offset(),
                key: text(message.key().expect("every record has a key")),
                payload: message.payload().map(text),
                headers: message
                    .headers()
                    .into_iter()
                    .flat_map(|headers| headers.iter())
                    .map(|header| (header.key.to_owned(), text(header.value.expect("no header is null"))))
                    .collect(),
            }),
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

/// The end of a partition, undecided records included.
pub(crate) fn high_watermark(topic: &str, partition: i32) -> i64 {
    reader("read_uncommitted").fetch_watermarks(topic, partition, PATIENCE).expect("it exists").1
}

/// Whether no transaction is open in the partition: its last stable offset is its end.
pub(crate) fn is_stable(topic: &str, partition: i32) -> bool {
    let (stable, all) = (reader("read_committed"), reader("read_uncommitted"));
    let end = |reader: &BaseConsumer| reader.fetch_watermarks(topic, partition, PATIENCE).expect("it exists").1;
    end(&stable) >= end(&all)
}

/// Waits until no transaction is open in the partition.
pub(crate) fn wait_until_stable(topic: &str, partition: i32) {
    let start = Instant::now();
    while !is_stable(topic, partition) {
        assert!(start.elapsed() < PATIENCE, "a transaction is still open in {topic}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn position_of(resumed: &Resumed) -> Option<String> {
    match &resumed.position {
        KeptPosition::At(checkpoint) => Some(checkpoint.position.to_string()),
        KeptPosition::NotYet => None,
        other => panic!("a transactional publisher keeps the position, and not {other:?}"),
    }
}

fn reader(isolation: &str) -> BaseConsumer {
    reader_of(&brokers(), isolation)
}

fn reader_of(brokers: &str, isolation: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", "tests")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .set("isolation.level", isolation);
    config.create().expect("valid settings")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("every text here is UTF-8")
}
