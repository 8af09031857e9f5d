//! The publishers in memory as the suite sees them, over a wire that can be cut.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use change_feed::conformance::HarnessError;
use change_feed::conformance::publisher::{Capabilities, Destination, PublisherHarness, SeenRecord};
use change_feed::memory::{MemoryBroker, MemoryPublisher};
use change_feed::publisher::{PublishError, Resume, Resumed};
use change_feed::{FeedName, Part, Publisher, SourceIdentity};

use crate::conformance::memory::broken_publishers::{Flaw, Flawed};

pub(crate) const TOPIC: &str = "conformance";
const MAX_PAYLOAD_BYTES: usize = 100_000;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Transactional,
    Idempotent,
    Ephemeral,
}

/// Publishers to a broker in memory, sound or with one flaw.
pub(crate) struct Memory {
    mode: Mode,
    flaw: Option<Flaw>,
}

impl Memory {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode, flaw: None }
    }

    pub(crate) fn with(flaw: Flaw) -> Self {
        Self { mode: Mode::Transactional, flaw: Some(flaw) }
    }
}

#[async_trait]
impl PublisherHarness for Memory {
    fn capabilities(&self) -> Capabilities {
        let too_large = format!(r#"{{"text":"{}"}}"#, "x".repeat(MAX_PAYLOAD_BYTES));
        let any = Capabilities::new().rejects(too_large).can_be_made_unavailable().shared_by_feeds().publishes_rows();
        // Nothing in memory takes time: what is not there at once never comes.
        let any = any.visible_within(Duration::from_millis(50)).call_limit(Duration::from_secs(5));
        match self.mode {
            Mode::Transactional => any.keeps_position().transactional().fences(),
            Mode::Idempotent => any,
            Mode::Ephemeral => any.transactional().fences(),
        }
    }

    async fn destination(&self) -> Result<Box<dyn Destination>, HarnessError> {
        let broker = MemoryBroker::new();
        broker.create_topic(TOPIC, 4);
        broker.limit_payloads(MAX_PAYLOAD_BYTES);
        let shared = Arc::new(SharedByFlaws::default());
        Ok(Box::new(Broker { broker, mode: self.mode, flaw: self.flaw, wire: Arc::default(), shared }))
    }
}

/// What the flawed publishers of one destination have in common.
#[derive(Default)]
pub(crate) struct SharedByFlaws {
    pub(crate) sources: Mutex<HashMap<FeedName, SourceIdentity>>,
    pub(crate) publishers: Mutex<Vec<(FeedName, Arc<dyn Publisher>)>>,
}

struct Broker {
    broker: MemoryBroker,
    mode: Mode,
    flaw: Option<Flaw>,
    wire: Arc<Wire>,
    shared: Arc<SharedByFlaws>,
}

#[async_trait]
impl Destination for Broker {
    fn topic(&self) -> Arc<str> {
        Arc::from(TOPIC)
    }

    async fn publisher(&self, feed: &FeedName) -> Result<Box<dyn Publisher>, HarnessError> {
        let everyone = FeedName::new("everyone")?;
        let feed = if self.flaw == Some(Flaw::SharesOnePosition) { &everyone } else { feed };
        let publisher = match self.mode {
            Mode::Transactional => MemoryPublisher::transactional(&self.broker, feed),
            Mode::Idempotent => MemoryPublisher::idempotent(&self.broker, feed),
            Mode::Ephemeral => MemoryPublisher::ephemeral(&self.broker, feed),
        };
        let wired = Wired { inner: publisher, wire: Arc::clone(&self.wire) };
        Ok(match self.flaw {
            None => Box::new(wired),
            Some(flaw) => Box::new(Flawed::new(flaw, wired, feed, &self.broker, &self.shared)),
        })
    }

    async fn records(&self) -> Result<Vec<SeenRecord>, HarnessError> {
        let records = self.broker.records(TOPIC);
        let mut seen: Vec<_> = records.iter().map(SeenRecord::from).collect();
        match self.flaw {
            Some(Flaw::ChoosesPartitionsByTurn) => {
                (0..).zip(&mut seen).for_each(|(turn, record)| record.partition = turn % 4);
            }
            Some(Flaw::TakesNullForEmpty) => seen.iter_mut().for_each(|record| {
                record.payload.get_or_insert_default();
            }),
            Some(Flaw::TakesEmptyForNull) => {
                seen.iter_mut()
                    .for_each(|record| record.payload = record.payload.take().filter(|payload| !payload.is_empty()));
            }
            _ => {}
        }
        Ok(seen)
    }

    async fn make_unavailable(&self) -> Result<(), HarnessError> {
        self.wire.is_cut.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn make_available(&self) -> Result<(), HarnessError> {
        self.wire.is_cut.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// Between a publisher and its broker. When it is cut it loses requests and answers by turns.
#[derive(Default)]
pub(crate) struct Wire {
    is_cut: AtomicBool,
    losses: AtomicUsize,
}

pub(crate) struct Wired {
    inner: MemoryPublisher,
    wire: Arc<Wire>,
}

#[async_trait]
impl Publisher for Wired {
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError> {
        if !self.wire.is_cut.load(Ordering::Relaxed) {
            return self.inner.publish(part).await;
        }
        if self.wire.losses.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Err(PublishError::transient("the request was lost"));
        }
        self.inner.publish(part).await?;
        Err(PublishError::transient("the answer was lost"))
    }

    async fn resume(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
        if self.wire.is_cut.load(Ordering::Relaxed) {
            return Err(PublishError::transient("the wire is cut"));
        }
        self.inner.resume(request).await
    }
}
