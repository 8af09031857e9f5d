//! How loud the clients of Kafka are. Alone in its process: what a log shows depends on who else is listening.

use std::io::Write;
use std::sync::{Arc, Mutex};

use change_feed::kafka::DevelopmentBroker;
use change_feed::kafka::KafkaReader;
use change_feed::memory::{MemoryDatabase, MemorySource};
use change_feed::{FeedName, Relay, RelayState, Router};
use test_support::PATIENCE;
use tracing_subscriber::filter::LevelFilter;

const TOPIC: &str = "orders.events";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no writer panics"));
        String::from_utf8(bytes).expect("text")
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A runtime that is dropped waits for the clients that close.
fn in_a_runtime(what: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, what).await.expect("it does not hang") });
}

#[test]
fn a_feed_that_comes_and_goes_makes_no_noise_and_a_broker_that_is_away_is_told_once_by_each() {
    let captured = Captured::default();
    let writer = captured.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    in_a_runtime(a_feed_comes_and_goes());
    let said = captured.take();
    let noise: Vec<_> = said.lines().filter(|line| line.contains("librdkafka") || line.contains("role=")).collect();
    assert!(noise.is_empty(), "{noise:#?}");
    assert!(said.contains("the publisher is ready") && !said.contains("WARN") && !said.contains("ERROR"), "{said}");

    in_a_runtime(a_broker_is_away());
    let said = captured.take();
    let loud: Vec<_> = said.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    assert!(!loud.is_empty() && loud.iter().all(|line| line.contains("change_feed::relay")), "{said}");
    assert!(said.contains("INFO") && said.contains("Connection refused"), "{said}");
}

async fn a_feed_comes_and_goes() {
    let broker = DevelopmentBroker::start(&[(TOPIC, 3)]).expect("a broker");
    let feed = FeedName::new("orders").expect("a valid name");
    let database = MemoryDatabase::new();
    database.commit(["a", "b", "c"]);
    let publisher = broker.publisher(&feed).expect("a publisher");
    let relay = Relay::new(feed.clone(), MemorySource::new(&database, &feed), Router::to_topic(TOPIC), publisher);
    let mut reader = KafkaReader::builder(broker.bootstrap_servers(), TOPIC).open().await.expect("a reader");
    let read = async {
        for _ in 0..3 {
            reader.take_next().await.expect("an event");
        }
    };
    relay.run(read).await.expect("no fault");
    // As a program ends: the broker first, and its clients meanwhile.
    drop(broker);
}

async fn a_broker_is_away() {
    let feed = FeedName::new("away").expect("a valid name");
    let database = MemoryDatabase::new();
    let publisher = change_feed::KafkaPublisher::transactional("127.0.0.1:9", &feed).expect("valid settings");
    let relay = Relay::new(feed.clone(), MemorySource::new(&database, &feed), Router::to_topic(TOPIC), publisher);
    let handle = relay.handle();
    let retries = async {
        handle.wait_until(|status| matches!(status.state, RelayState::Retrying { .. })).await;
    };
    relay.run(retries).await.expect("told to end");
}
