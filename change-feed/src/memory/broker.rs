//! A broker that lives in memory.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use super::log::Log;
use super::log::MemoryRecord;
use super::mode::Mode;
use super::state::State;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::{FeedName, PublisherIdentity, Topic};

/// Topics with partitions in memory: for tests of relays and consumers, and for programs that have
/// no broker.
///
/// Cloning gives another handle to the same broker. Its memory grows with what is published.
///
/// ```
/// use change_feed::memory::MemoryBroker;
///
/// let broker = MemoryBroker::new();
/// broker.create_topic("orders.events", 3);
/// assert!(broker.records("orders.events").is_empty());
/// ```
#[derive(Clone)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: String,
    state: Mutex<State>,
    /// Records became visible.
    appended: Notify,
}

impl MemoryBroker {
    /// The number of partitions of a topic that a publisher makes.
    pub const DEFAULT_PARTITIONS: u32 = 12;

    /// A broker without topics, different from every other.
    pub fn new() -> Self {
        let shared = Shared { cluster: Uuid::now_v7().to_string(), state: Mutex::default(), appended: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Makes a topic with this many partitions (0 is taken as 1), in place of one that has the name.
    pub fn create_topic(&self, name: impl Into<Arc<str>>, partitions: u32) {
        self.state().topics.insert(name.into(), Log::new(partitions));
    }

    /// Gives a topic more partitions: from now on keys may go to other partitions than before.
    pub fn add_partitions(&self, name: &str, partitions: u32) {
        if let Some(log) = self.state().topics.get_mut(name) {
            let more = log.next_offsets.len() + partitions as usize;
            log.next_offsets.resize(more, 0);
        }
    }

    /// Deletes a topic and its records.
    pub fn delete_topic(&self, name: &str) {
        self.state().topics.remove(name);
    }

    /// From now on rejects payloads over this size, as brokers do.
    pub fn limit_payloads(&self, max_payload_bytes: usize) {
        self.state().max_payload_bytes = Some(max_payload_bytes);
    }

    /// The visible records of a topic in the order in which they were published; none if there is
    /// no such topic.
    pub fn records(&self, topic: &str) -> Vec<MemoryRecord> {
        let state = self.state();
        state.topics.get(topic).map_or_else(Vec::new, |log| log.records.clone())
    }

    /// Waits until a topic has at least `count` visible records, and gives them all.
    ///
    /// Dropping the future loses nothing.
    pub async fn wait_for_records(&self, topic: &str, count: usize) -> Vec<MemoryRecord> {
        loop {
            // Registered before the look, so that nothing is missed between look and wait.
            let appended = self.shared.appended.notified();
            let len = self.state().topics.get(topic).map_or(0, |log| log.records.len());
            if len >= count {
                return self.records(topic);
            }
            appended.await;
        }
    }

    /// The position that a transactional publisher has stored for a feed.
    pub fn checkpoint(&self, feed: &FeedName) -> Option<Checkpoint> {
        self.state().checkpoints.get(feed).cloned()
    }

    /// Forgets a feed's position, as a broker does that was set up anew.
    pub fn forget_checkpoint(&self, feed: &FeedName) {
        self.state().checkpoints.remove(feed);
    }

    /// Wakes those who wait for records.
    pub(super) fn tell(&self) {
        self.shared.appended.notify_waiters();
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No code panics between two writes that belong together.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn identity(&self, mode: Mode, state: &State, topics: &[Arc<str>]) -> PublisherIdentity {
        let kind = match mode {
            Mode::Transactional => "memory-transactional",
            Mode::Idempotent => "memory-idempotent",
            Mode::Ephemeral => "memory-ephemeral",
        };
        let mut identity = PublisherIdentity::new(kind, &self.shared.cluster);
        for name in topics {
            if let Some(log) = state.topics.get(name) {
                let topic = Topic::new(log.partitions(), Some(log.id.clone()));
                identity = identity.with_topic(&**name, topic);
            }
        }
        identity
    }
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBroker").field("cluster", &self.shared.cluster).finish_non_exhaustive()
    }
}
