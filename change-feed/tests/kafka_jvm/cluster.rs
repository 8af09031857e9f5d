//! The cluster, and our own readers of it.

use std::time::{Duration, Instant};

use change_feed::kafka::{KafkaReader, ReaderError};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::kafka_jvm::jvm::Isolation;
use crate::kafka_jvm::seen::{Place, Seen, Understood};

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn brokers() -> String {
    std::env::var("KAFKA_BROKERS").expect(
        "KAFKA_BROKERS is not set: run scripts/test, or scripts/services up and eval \"$(scripts/services env)\"",
    )
}

pub(crate) async fn create_topic(name: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers()).create().expect("valid settings");
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    let answer = admin.create_topics([&topic], &AdminOptions::new()).await.expect("the cluster is there");
    answer.into_iter().for_each(|result| drop(result.expect("the topic is new")));
    let start = Instant::now();
    while count_partitions(name) != partitions {
        assert!(start.elapsed() < PATIENCE, "{name} never had {partitions} partitions");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn count_partitions(topic: &str) -> i32 {
    let metadata = consumer(Isolation::Committed).fetch_metadata(Some(topic), PATIENCE).expect("the cluster is there");
    metadata.topics()[0].partitions().len() as i32
}

/// Waits until no transaction is open in the topic: the markers of a commit reach the partitions after its answer.
pub(crate) async fn wait_until_stable(topic: &str) {
    let (stable, all) = (consumer(Isolation::Committed), consumer(Isolation::Uncommitted));
    let start = Instant::now();
    for partition in 0..count_partitions(topic) {
        let end = |client: &BaseConsumer| client.fetch_watermarks(topic, partition, PATIENCE).expect("it exists").1;
        while end(&stable) < end(&all) {
            assert!(start.elapsed() < PATIENCE, "a transaction is still open in {topic}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Waits until so many records with these words in them have reached the topic, committed or not.
pub(crate) async fn wait_until_arrived(topic: &str, words: &str, count: usize) {
    let start = Instant::now();
    let arrived = || read(topic, Isolation::Uncommitted).iter().filter(|record| record.says(words)).count();
    while arrived() < count {
        assert!(start.elapsed() < PATIENCE, "fewer than {count} records with {words:?} arrived");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Everything that librdkafka's consumer gives of a topic.
pub(crate) fn read(topic: &str, isolation: Isolation) -> Vec<Seen> {
    let consumer = consumer(isolation);
    let partitions = count_partitions(topic);
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    }
    consumer.assign(&assignment).expect("a valid assignment");
    let (mut records, mut ended) = (Vec::new(), 0);
    let start = Instant::now();
    while ended < partitions {
        assert!(start.elapsed() < PATIENCE, "{topic} was not read to its end");
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
            Some(Ok(message)) => records.push(seen(&message)),
        }
    }
    records
}

fn seen(message: &BorrowedMessage<'_>) -> Seen {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Seen {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
    }
}

/// Everything that our reader of events gives of a topic: the events, and the places of what is none.
pub(crate) async fn read_events(topic: &str) -> Vec<(Place, Understood)> {
    let mut reader = KafkaReader::builder(&brokers(), topic).open().await.expect("a reader");
    let mut events = Vec::new();
    let reading = async {
        loop {
            match reader.next_before_end().await {
                Ok(None) => return,
                Ok(Some(received)) => {
                    reader.admit(&received).expect("it was given");
                    let event = received.event;
                    events.push(((event.partition().cast_signed(), event.offset().cast_signed()), Ok(event)));
                }
                Err(ReaderError::Record(error)) => {
                    let place = (error.partition.cast_signed(), error.offset.cast_signed());
                    events.push((place, Err(error.problem)));
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("it comes to the end");
    events
}

fn consumer(isolation: Isolation) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers())
        .set("group.id", "tests")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .set("isolation.level", isolation.setting());
    config.create().expect("valid settings")
}
