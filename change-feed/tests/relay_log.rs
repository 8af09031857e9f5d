//! What the relay logs, and what it never does. Alone in its process: what a log shows depends on
//! who else is listening.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use change_feed::memory::{MemoryBroker, MemoryPublisher};
use change_feed::memory::{MemoryDatabase, MemoryEvent, MemorySource};
use change_feed::{FeedName, Relay, RelayState, Router};
use tracing_subscriber::filter::LevelFilter;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_decision_is_logged_and_never_a_payload() {
    let captured = Captured::default();
    let writer = captured.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let (database, broker) = (MemoryDatabase::new(), MemoryBroker::new());
    broker.limit_payloads(100);
    database.commit([MemoryEvent::new("a").payload(r#"{"card":"4111-secret"}"#)]);
    database.commit([MemoryEvent::new("a").payload(format!(r#"{{"card":"5222-secret{}"}}"#, "x".repeat(100)))]);
    let feed = FeedName::new("orders").expect("a valid name");
    let relay = || {
        let source = MemorySource::new(&database, &feed).max_run_changes(1);
        let publisher = MemoryPublisher::transactional(&broker, &feed);
        Relay::new(feed.clone(), source, Router::to_topic("orders.events"), publisher)
    };
    let first = relay();
    let handle = first.handle();
    let shutdown = async {
        handle.wait_until(|status| status.position >= database.end()).await;
        database.depose(&feed);
        handle.wait_until(|status| matches!(status.state, RelayState::Retrying { .. })).await;
        database.commit(["a"]);
        handle.wait_until(|status| status.position >= database.end()).await;
        handle.pause();
        handle.wait_until(|status| status.state == RelayState::Paused).await;
    };
    let within = |run| tokio::time::timeout(Duration::from_secs(60), run);
    within(Box::pin(first.run(shutdown))).await.expect("it does not hang").expect("no fault");
    broker.add_partitions("orders.events", 1);
    relay().run(std::future::pending()).await.expect_err("closed");

    let log = String::from_utf8(captured.0.lock().expect("no writer panics").clone()).expect("text");
    for said in [
        "waiting for the election",
        "elected",
        "trying again",
        "attempt=1",
        "resumed",
        "captured",
        "publishing",
        "rejected: its data is withheld",
        "published",
        "acknowledged",
        "Paused",
        "shutting down",
        "stopped",
        "the relay ends",
        "had 12 when this feed began",
    ] {
        assert!(log.contains(said), "{said:?} is not in the log:\n{log}");
    }
    let ours = |line: &str| line.contains("change_feed::relay") && line.contains("feed=orders");
    assert!(log.lines().all(ours), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
