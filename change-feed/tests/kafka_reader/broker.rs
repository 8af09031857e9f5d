//! A topic of the real broker, and what writes to it.

use std::env;
use std::time::{Duration, Instant};

use change_feed::{Envelope, Epoch, FeedIdentity, FeedName, PublisherIdentity, Router, SourceIdentity};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn brokers() -> String {
    env::var("KAFKA_BROKERS").expect(
        "KAFKA_BROKERS is not set: run scripts/test, or eval \"$(scripts/services env)\" after scripts/services up",
    )
}

/// A topic of its own for each test.
pub(crate) struct Topic {
    pub(crate) name: String,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Topic {
    pub(crate) async fn create(purpose: &str, partitions: i32) -> Self {
        let name = format!("test.{purpose}.{}", uuid::Uuid::now_v7());
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(-1));
        let created = admin().create_topics([&topic], &AdminOptions::new()).await.expect("an answer");
        created.into_iter().for_each(|result| drop(result.expect("a topic")));
        let producer: ThreadedProducer<_> = ClientConfig::new()
            .set("bootstrap.servers", brokers())
            .set("transactional.id", &name)
            .set("partitioner", "murmur2_random")
            .create()
            .expect("a producer");
        producer.init_transactions(TIMEOUT).expect("transactions");
        Self { name, producer }
    }

    pub(crate) async fn delete(&self) {
        let deleted = admin().delete_topics(&[&self.name], &AdminOptions::new()).await.expect("an answer");
        deleted.into_iter().for_each(|result| drop(result.expect("it was there")));
    }

    /// Gives the topic this number of partitions, and waits until the producer of the test knows them.
    pub(crate) async fn add_partitions(&self, count: usize) {
        let answer = admin().create_partitions([&NewPartitions::new(&self.name, count)], &AdminOptions::new()).await;
        answer.expect("an answer").into_iter().for_each(|result| drop(result.expect("more than there were")));
        let start = Instant::now();
        while self.partition_count() != count {
            assert!(start.elapsed() < TIMEOUT, "the topic never had {count} partitions");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn partition_count(&self) -> usize {
        let metadata = self.producer.client().fetch_metadata(Some(&self.name), TIMEOUT).expect("an answer");
        metadata.topics()[0].partitions().len()
    }

    /// Publishes in one transaction, and leaves it open.
    pub(crate) fn publish_open(&self, envelopes: &[Envelope]) {
        self.producer.begin_transaction().expect("begun");
        envelopes.iter().for_each(|envelope| self.send(envelope));
        self.producer.flush(TIMEOUT).expect("flushed");
    }

    pub(crate) fn commit(&self) {
        self.producer.commit_transaction(TIMEOUT).expect("committed");
        self.wait_until_decided();
    }

    pub(crate) fn abort(&self) {
        self.producer.abort_transaction(TIMEOUT).expect("aborted");
        self.wait_until_decided();
    }

    /// The markers of a transaction reach the partitions' leaders after its answer.
    fn wait_until_decided(&self) {
        let [stable, all]: [BaseConsumer; 2] = ["read_committed", "read_uncommitted"].map(|isolation| {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", brokers()).set("group.id", "tests").set("isolation.level", isolation);
            config.create().expect("a client")
        });
        let start = Instant::now();
        for partition in 0..self.partition_count() as i32 {
            let end =
                |client: &BaseConsumer| client.fetch_watermarks(&self.name, partition, TIMEOUT).expect("an end").1;
            while end(&stable) < end(&all) {
                assert!(start.elapsed() < TIMEOUT, "the transaction is still open");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    pub(crate) fn publish(&self, envelopes: &[Envelope]) {
        self.publish_open(envelopes);
        self.commit();
    }

    fn send(&self, envelope: &Envelope) {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &envelope.headers() {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let record = BaseRecord::to(&self.name).key(envelope.key()).payload(envelope.data()).headers(headers);
        self.producer.send(record).map_err(|(error, _)| error).expect("queued");
    }

    /// A record that no feed published.
    pub(crate) fn publish_foreign(&self) {
        self.producer.begin_transaction().expect("begun");
        let record = BaseRecord::to(&self.name).key("a").payload("{}");
        self.producer.send(record).map_err(|(error, _): (_, BaseRecord<'_, str, str>)| error).expect("queued");
        self.commit();
    }
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers()).create().expect("an admin client")
}

/// The events of these keys in order, each the next version of its key.
pub(crate) fn envelopes(database: &change_feed::memory::MemoryDatabase, keys: &[&str]) -> Vec<Envelope> {
    let before = database.changes().len();
    database.commit(keys.iter().copied());
    let router = Router::to_topic("any");
    let new = database.changes().into_iter().skip(before);
    new.map(|change| router.route(change, &identity()).expect("a topic for events")).collect()
}

/// The identity of a feed that the tests publish as.
fn identity() -> FeedIdentity {
    let (source, publisher) = (SourceIdentity::new("", "", ""), PublisherIdentity::new("", ""));
    FeedIdentity::new(FeedName::new("tests").expect("a valid name"), Epoch::FIRST, source, publisher)
}
