//! Topics of the cluster.

use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::environment::required;
use crate::patience::{PATIENCE, POLL_INTERVAL};

/// How long a broker may take to answer before it counts as away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The addresses of the brokers that all tests share.
pub fn brokers() -> String {
    required("KAFKA_BROKERS")
}

/// A client that changes topics.
pub fn admin() -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers()).create().expect("valid settings")
}

/// Makes a topic with these settings, and waits until its partitions are known.
pub async fn create_topic(name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
    let answer = admin().create_topics([&topic], &AdminOptions::new()).await;
    answer.expect("the cluster is there")[0].as_ref().expect("the topic is new");
    wait_for_partitions(name, partitions.unsigned_abs() as usize).await;
}

/// Deletes a topic, and waits until it is gone.
pub async fn delete_topic(name: &str) {
    let answer = admin().delete_topics(&[name], &AdminOptions::new()).await;
    answer.expect("the cluster is there")[0].as_ref().expect("the topic exists");
    wait_for_partitions(name, 0).await;
}

/// Gives a topic this number of partitions, and waits until they are known.
pub async fn add_partitions(name: &str, count: usize) {
    let answer = admin().create_partitions([&NewPartitions::new(name, count)], &AdminOptions::new()).await;
    answer.expect("the cluster is there")[0].as_ref().expect("more than there were");
    wait_for_partitions(name, count).await;
}

/// How many partitions the topic has; 0 if there is none.
pub fn partitions(name: &str) -> usize {
    count_partitions(&consumer(&brokers(), "read_committed"), name)
}

async fn wait_for_partitions(name: &str, count: usize) {
    let consumer = consumer(&brokers(), "read_committed");
    let start = Instant::now();
    while count_partitions(&consumer, name) != count {
        assert!(start.elapsed() < PATIENCE, "{name} never had {count} partitions");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn count_partitions(consumer: &BaseConsumer, topic: &str) -> usize {
    consumer.fetch_metadata(Some(topic), PATIENCE).expect("the cluster is there").topics()[0].partitions().len()
}

/// A reader of topics, with the isolation `read_committed` or `read_uncommitted`.
pub fn consumer(brokers: &str, isolation: &str) -> BaseConsumer {
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

/// A record as a reader sees it, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// `None` is a null, which is not the same as a value of zero length.
    pub value: Option<Vec<u8>>,
    /// In the order of the record.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// Partition and offset.
    pub fn place(&self) -> (i32, i64) {
        (self.partition, self.offset)
    }

    /// The value of a header, where it has one that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        value.as_deref().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether the value has these words in it.
    pub fn says(&self, words: &str) -> bool {
        self.value.as_deref().is_some_and(|value| String::from_utf8_lossy(value).contains(words))
    }
}

impl From<&BorrowedMessage<'_>> for Record {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
        }
    }
}

/// Everything that a reader of this isolation sees now, partition by partition.
pub fn read(brokers: &str, topic: &str, isolation: &str) -> Vec<Record> {
    let consumer = consumer(brokers, isolation);
    let partitions = count_partitions(&consumer, topic);
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition as i32, Offset::Beginning).expect("a valid offset");
    }
    consumer.assign(&assignment).expect("a valid assignment");
    let (mut records, mut ended) = (Vec::new(), 0);
    let start = Instant::now();
    while ended < partitions {
        assert!(start.elapsed() < PATIENCE, "{topic} was not read to its end: {records:?}");
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
            Some(Ok(message)) => records.push(Record::from(&message)),
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

/// Where a partition ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The partition.
    pub partition: i32,
    /// The last stable offset: the end for `read_committed` readers.
    pub stable: i64,
    /// The high watermark, undecided records included.
    pub all: i64,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, stable, all } = self;
        write!(f, "partition {partition} is stable up to {stable} of {all}")
    }
}

/// Where the partitions of a topic end. A `read_committed` client is given the last stable offset as the end of a
/// partition, any other the high watermark.
pub fn ends(brokers: &str, topic: &str) -> KafkaResult<Vec<End>> {
    let (stable, all) = (consumer(brokers, "read_committed"), consumer(brokers, "read_uncommitted"));
    let metadata = stable.fetch_metadata(Some(topic), ANSWER_TIMEOUT)?;
    let end = |client: &BaseConsumer, partition| {
        client.fetch_watermarks(topic, partition, ANSWER_TIMEOUT).map(|(_, end)| end)
    };
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let ends = partitions.map(|partition| {
        let partition = partition.id();
        Ok(End { partition, stable: end(&stable, partition)?, all: end(&all, partition)? })
    });
    ends.collect()
}

/// Whether every transaction in the topic is committed or aborted, or why that can't be told.
pub fn is_stable(brokers: &str, topic: &str) -> Result<(), String> {
    let ends = ends(brokers, topic).map_err(|error| error.to_string())?;
    match ends.iter().find(|end| end.stable < end.all) {
        Some(end) => Err(format!("a transaction is open: {end}")),
        None => Ok(()),
    }
}

/// Waits, on this thread, until no transaction is open in the topic: the markers of a commit reach the partitions after
/// its answer.
pub fn wait_until_stable(topic: &str) {
    let (brokers, start) = (brokers(), Instant::now());
    while let Err(last) = is_stable(&brokers, topic) {
        assert!(start.elapsed() < PATIENCE, "{topic}: {last}");
        std::thread::sleep(POLL_INTERVAL);
    }
}
