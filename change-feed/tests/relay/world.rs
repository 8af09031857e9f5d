//! A database, a broker and a feed between them, and what the judge says of it.

use std::future::Future;
use std::time::Duration;

use change_feed::judge::{Delivery, Expected, FindingKind, History, Judge, Observed, Verdict};
use change_feed::memory::{MemoryBroker, MemoryPublisher};
use change_feed::memory::{MemoryDatabase, MemoryEvent, MemorySource};
use change_feed::{Content, FeedName, Position, Publisher, Relay, RelayError, RelayOptions, Router, Source, Stopped};

pub(crate) const TOPIC: &str = "orders.events";

/// A run of the source: small, so that a load of some transactions takes several.
const MAX_RUN_CHANGES: usize = 3;

pub(crate) struct World {
    pub(crate) database: MemoryDatabase,
    pub(crate) broker: MemoryBroker,
    pub(crate) feed: FeedName,
}

impl World {
    pub(crate) fn new() -> Self {
        let feed = FeedName::new("orders").expect("a valid name");
        Self { database: MemoryDatabase::new(), broker: MemoryBroker::new(), feed }
    }

    /// A world with small transactions, some that share a run, a large one in several pieces and
    /// some of no concern.
    pub(crate) fn loaded() -> Self {
        let world = Self::new();
        world.load();
        world
    }

    pub(crate) fn load(&self) {
        let database = &self.database;
        database.commit(["a"]);
        database.commit(["b", "a"]);
        database.commit_records([]);
        database.commit(["a", "b", "c", "a", "b", "c", "a", "d"]);
        database.commit(["c"]);
        database.commit(["d"]);
        database.commit_records([]);
        database.commit(["a", "d"]);
    }

    pub(crate) fn source(&self) -> MemorySource {
        MemorySource::new(&self.database, &self.feed).max_run_changes(MAX_RUN_CHANGES)
    }

    pub(crate) fn transactional(&self) -> MemoryPublisher {
        MemoryPublisher::transactional(&self.broker, &self.feed)
    }

    pub(crate) fn publisher(&self, delivery: Delivery) -> MemoryPublisher {
        match delivery {
            Delivery::ExactlyOnce => self.transactional(),
            Delivery::AtLeastOnce => MemoryPublisher::idempotent(&self.broker, &self.feed),
        }
    }

    pub(crate) fn relay<S: Source, P: Publisher>(&self, source: S, publisher: P) -> Relay<S, P> {
        Relay::new(self.feed.clone(), source, Router::to_topic(TOPIC), publisher).options(quick())
    }

    /// Runs a relay until everything that is committed is published.
    pub(crate) async fn run<S: Source, P: Publisher>(&self, relay: Relay<S, P>) -> Result<Stopped, RelayError> {
        let (handle, end) = (relay.handle(), self.database.end());
        within(relay.run(async move {
            handle.wait_until(|status| status.position >= end).await;
        }))
        .await
    }

    /// Runs a relay without faults until everything that is committed is published.
    pub(crate) async fn finish(&self, delivery: Delivery) -> Position {
        let relay = self.relay(self.source(), self.publisher(delivery));
        let stopped = self.run(relay).await.expect("no fault");
        assert_eq!(stopped.position, self.database.end());
        assert!(stopped.drained);
        stopped.position
    }

    pub(crate) fn verdict(&self, delivery: Delivery) -> Verdict {
        let changes = self.database.changes();
        let expected = changes.iter().map(|change| {
            let Content::Event(event) = &change.content else { unreachable!("the database holds events only") };
            Expected {
                key: &event.key,
                version: event.version,
                event_id: event.event_id,
                transaction: change.transaction.as_ref().map(|place| place.id.clone()),
            }
        });
        let mut judge = Judge::new(History::from_iter(expected), delivery);
        for record in self.broker.records(TOPIC) {
            let observed = Observed::envelope(record.partition, record.offset, &record.envelope);
            judge.observe(&observed.expect("an event"));
        }
        judge.verdict()
    }

    #[track_caller]
    pub(crate) fn assert_clean(&self, delivery: Delivery, circumstances: &str) {
        let verdict = self.verdict(delivery);
        assert!(verdict.is_clean(), "{circumstances}: {verdict}");
        assert!(!self.database.changes().is_empty());
    }

    #[track_caller]
    pub(crate) fn assert_not_torn(&self, circumstances: &str) {
        let verdict = self.verdict(Delivery::ExactlyOnce);
        assert_eq!(verdict.total(FindingKind::Torn), 0, "{circumstances}: {verdict}");
        assert_eq!(verdict.total(FindingKind::Duplicated), 0, "{circumstances}: {verdict}");
    }

    /// What every key's versions look like in the topic.
    pub(crate) fn published_keys(&self) -> Vec<String> {
        let records = self.broker.records(TOPIC);
        let shown = |record: &change_feed::memory::MemoryRecord| {
            let version = record.envelope.version().expect("an event");
            format!("{}{version}", record.envelope.key())
        };
        records.iter().map(shown).collect()
    }
}

/// Retries at once, so that a test of a hundred faults takes no time.
pub(crate) fn quick() -> RelayOptions {
    RelayOptions {
        min_retry_delay: Duration::from_micros(10),
        max_retry_delay: Duration::from_micros(100),
        ..RelayOptions::default()
    }
}

/// An event whose payload has this many bytes.
pub(crate) fn event_of(key: &str, payload_bytes: usize) -> MemoryEvent {
    assert!(payload_bytes >= 2, "a JSON string has two quotes");
    MemoryEvent::new(key).payload(format!("\"{}\"", "x".repeat(payload_bytes - 2)))
}

/// A generous limit, so that what hangs fails with a place.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it does not hang")
}

/// Lets everything that can go on go on.
pub(crate) async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}
