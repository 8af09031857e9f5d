//! The cluster, and our own readers of it.

use change_feed::kafka::{KafkaReader, ReaderError};
pub(crate) use test_support::PATIENCE;
use test_support::kafka;
pub(crate) use test_support::kafka::brokers;
use test_support::until;

use crate::kafka_jvm::jvm::Isolation;
use crate::kafka_jvm::seen::{Place, Seen, Understood};

pub(crate) async fn create_topic(name: &str, partitions: i32) {
    kafka::create_topic(name, partitions, &[]).await;
}

/// Waits until no transaction is open in the topic.
pub(crate) async fn wait_until_stable(topic: &str) {
    tokio::task::block_in_place(|| kafka::wait_until_stable(topic));
}

/// Waits until so many records with these words in them have reached the topic, committed or not.
pub(crate) async fn wait_until_arrived(topic: &str, words: &str, count: usize) {
    let arrived = || read(topic, Isolation::Uncommitted).iter().filter(|record| record.says(words)).count();
    until(&format!("{count} records with {words:?} arrive"), async || arrived() >= count).await;
}

/// Everything that librdkafka's consumer gives of a topic.
pub(crate) fn read(topic: &str, isolation: Isolation) -> Vec<Seen> {
    kafka::read(&brokers(), topic, isolation.setting())
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
