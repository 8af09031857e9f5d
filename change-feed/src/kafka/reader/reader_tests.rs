use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::time::timeout;

use super::*;
use crate::feed::identity::tests::identity;
use crate::feed::router::Router;
use crate::kafka::development_broker::DevelopmentBroker;
use crate::kafka::murmur2::partition_of;
use crate::memory::database::MemoryDatabase;

const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "orders.events";
const PARTITIONS: u32 = 2;

/// An order in each partition.
fn keys() -> [String; 2] {
    [0, 1].map(|partition| {
        let mut keys = (0..).map(|n| format!("order-{n}"));
        keys.find(|key| partition_of(key.as_bytes(), PARTITIONS) == partition).expect("there are many")
    })
}

/// The next version of each key.
fn publish(broker: &DevelopmentBroker, database: &MemoryDatabase, keys: &[String]) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap_servers()).create().expect("a producer");
    let before = database.changes().len();
    database.commit(keys.iter().map(String::as_str));
    for change in database.changes().into_iter().skip(before) {
        let envelope = Router::to_topic(TOPIC).route(change, &identity()).expect("a topic for events");
        let headers = envelope
            .headers()
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let record = BaseRecord::to(TOPIC)
            .partition(partition_of(envelope.key().as_bytes(), PARTITIONS))
            .key(envelope.key())
            .payload(envelope.data())
            .headers(headers);
        producer.send(record).map_err(|(error, _)| error).expect("queued");
    }
    producer.flush(PATIENCE).expect("delivered");
}

async fn next(reader: &mut KafkaReader) -> (String, u64) {
    let received = timeout(PATIENCE, reader.take_next()).await.expect("something comes").expect("an event");
    (received.event.key().to_owned(), received.event.version())
}

#[tokio::test]
async fn a_partition_that_its_client_ceased_to_read_is_read_on_by_itself() {
    let broker = DevelopmentBroker::start(&[(TOPIC, PARTITIONS)]).expect("a broker");
    let (database, [lost, other]) = (MemoryDatabase::new(), keys());
    let mut reader = timeout(PATIENCE, KafkaReader::builder(broker.bootstrap_servers(), TOPIC).open())
        .await
        .expect("it answers")
        .expect("a reader");
    publish(&broker, &database, &[lost.clone(), other.clone()]);
    let mut first = [next(&mut reader).await, next(&mut reader).await];
    first.sort_unstable();
    let mut expected = [(lost.clone(), 1), (other.clone(), 1)];
    expected.sort_unstable();
    assert_eq!(first, expected);

    reader.client.lose(partition_of(lost.as_bytes(), PARTITIONS));
    publish(&broker, &database, &[lost.clone(), other.clone()]);
    assert_eq!(next(&mut reader).await, (other.clone(), 2));
    assert!(timeout(Duration::from_millis(300), reader.next()).await.is_err(), "the client gives it after all");

    reader.silent_partitions = SilentPartitions::checking_every(Duration::from_millis(50));
    assert_eq!(next(&mut reader).await, (lost.clone(), 2));
    publish(&broker, &database, &[lost.clone(), other.clone()]);
    let mut last = [next(&mut reader).await, next(&mut reader).await];
    last.sort_unstable();
    assert_eq!(last.map(|(_, version)| version), [3, 3]);
}

#[tokio::test]
async fn refused_credentials_end_a_reader_only_when_they_stay_refused() {
    use rdkafka::error::RDKafkaErrorCode::Authentication;
    let broker = DevelopmentBroker::start(&[(TOPIC, PARTITIONS)]).expect("a broker");
    let opening = KafkaReader::builder(broker.bootstrap_servers(), TOPIC).open();
    let mut reader = timeout(PATIENCE, opening).await.expect("it answers").expect("a reader");
    let refused = || Err(KafkaError::MessageConsumption(Authentication));

    reader.receive(refused()).expect("a token may be refreshed a second later");
    reader.receive(Err(KafkaError::PartitionEOF(0))).expect("it was");
    assert_eq!(reader.refused_at, None);

    reader.receive(refused()).expect("a token may be refreshed again");
    reader.refused_at = Instant::now().checked_sub(REFUSAL_LIMIT);
    let error = reader.receive(refused()).expect_err("nothing came for a long time");
    assert!(matches!(error, ReaderError::Fatal { remedy, .. } if remedy.contains("password")), "{error:?}");
}

#[tokio::test]
async fn a_follower_hears_of_partitions_that_were_added() {
    let broker = DevelopmentBroker::start(&[(TOPIC, PARTITIONS)]).expect("a broker");
    let opening = KafkaReader::builder(broker.bootstrap_servers(), TOPIC).open();
    let mut reader = timeout(PATIENCE, opening).await.expect("it answers").expect("a reader");
    // As if the topic had had one partition when the reader was opened.
    reader.partition_count = 1;
    reader.silent_partitions = SilentPartitions::checking_every(Duration::from_millis(50));
    let error = timeout(PATIENCE, reader.next()).await.expect("it looks").expect_err("another topic than before");
    assert!(matches!(error, ReaderError::Repartitioned { opened: 1, found: 2, .. }), "{error:?}");
}

#[tokio::test]
async fn a_message_of_a_partition_that_was_revoked_is_not_given_and_moves_no_offset() {
    let broker = DevelopmentBroker::start(&[(TOPIC, PARTITIONS)]).expect("a broker");
    let (database, keys) = (MemoryDatabase::new(), keys());
    let opening = KafkaReader::builder(broker.bootstrap_servers(), TOPIC).open();
    let mut reader = timeout(PATIENCE, opening).await.expect("it answers").expect("a reader");
    publish(&broker, &database, &keys);
    let late = timeout(PATIENCE, reader.next()).await.expect("something comes").expect("an event").event;
    reader.revoke([late.partition()]).expect("the client is there");
    assert_eq!(reader.offsets().len(), 1);

    // It was on its way.
    reader.receive(Ok(Ok(late.clone()))).expect("nothing happens");
    let next = timeout(PATIENCE, reader.take_next()).await.expect("something comes").expect("an event");
    assert_ne!(next.event.partition(), late.partition());
    timeout(PATIENCE, reader.assign([(late.partition(), 0)])).await.expect("it answers").expect("it is there");
    let again = timeout(PATIENCE, reader.take_next()).await.expect("something comes").expect("an event");
    assert_eq!((again.event.offset(), again.admission), (0, Admission::New));
}
