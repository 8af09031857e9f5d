//! A topic of the real broker, and what writes to it.

use change_feed::{Envelope, Epoch, FeedIdentity, FeedName, PublisherIdentity, Router, SourceIdentity};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
pub(crate) use test_support::PATIENCE as TIMEOUT;
use test_support::kafka;
pub(crate) use test_support::kafka::brokers;
use test_support::until;

/// A topic of its own for each test.
pub(crate) struct Topic {
    pub(crate) name: String,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Topic {
    pub(crate) async fn create(purpose: &str, partitions: i32) -> Self {
        let name = format!("test.{purpose}.{}", uuid::Uuid::now_v7());
        kafka::create_topic(&name, partitions, &[]).await;
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
        kafka::delete_topic(&self.name).await;
    }

    /// Gives the topic this number of partitions, and waits until the producer of the test knows them.
    pub(crate) async fn add_partitions(&self, count: usize) {
        kafka::add_partitions(&self.name, count).await;
        until("the producer knows the partitions", async || self.partition_count() == count).await;
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
        kafka::wait_until_stable(&self.name);
    }

    pub(crate) fn abort(&self) {
        self.producer.abort_transaction(TIMEOUT).expect("aborted");
        kafka::wait_until_stable(&self.name);
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
