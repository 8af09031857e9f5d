//! A broker that lives in memory, and the publisher that delivers to it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{KeptPosition, PublishError, Publisher, Rejection, Resume, Resumed};
use crate::{Checkpoint, Envelope, FeedName, Part, PublisherIdentity, Topic};

/// How a [`MemoryPublisher`] delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Transactional,
    Idempotent,
    Ephemeral,
}

/// Topics with partitions in memory: for tests of relays and consumers, and for programs that have
/// no broker.
///
/// Cloning gives another handle to the same broker. Its memory grows with what is published.
///
/// ```
/// use change_feed::publisher::MemoryBroker;
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

#[derive(Default)]
struct State {
    topics: BTreeMap<Arc<str>, Log>,
    checkpoints: HashMap<FeedName, Checkpoint>,
    /// How often a transactional publisher of a feed has resumed: only the last one may publish.
    generations: HashMap<FeedName, u64>,
    max_payload_bytes: Option<usize>,
}

/// The records of a topic.
struct Log {
    id: String,
    records: Vec<MemoryRecord>,
    next_offsets: Vec<u64>,
}

/// A published record.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryRecord {
    /// The partition: a function of the key and the number of partitions.
    pub partition: u32,
    /// The record's place in its partition: 0, 1, 2 …
    pub offset: u64,
    /// What was published.
    pub envelope: Envelope,
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

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics between two writes that belong together.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn identity(&self, mode: Mode, state: &State, topics: &[Arc<str>]) -> PublisherIdentity {
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

impl Log {
    fn new(partitions: u32) -> Self {
        Self { id: Uuid::now_v7().to_string(), records: Vec::new(), next_offsets: vec![0; partitions.max(1) as usize] }
    }

    fn partitions(&self) -> u32 {
        // Made from numbers that are no larger.
        self.next_offsets.len() as u32
    }

    fn append(&mut self, envelope: Envelope) {
        let mut hasher = DefaultHasher::new();
        envelope.key().hash(&mut hasher);
        let partition = (hasher.finish() % u64::from(self.partitions())) as u32;
        let next_offset = &mut self.next_offsets[partition as usize];
        let offset = *next_offset;
        *next_offset += 1;
        self.records.push(MemoryRecord { partition, offset, envelope });
    }
}

impl State {
    fn check_payloads(&self, envelopes: &[Envelope]) -> Result<(), PublishError> {
        let Some(max) = self.max_payload_bytes else {
            return Ok(());
        };
        let sizes = envelopes.iter().map(|envelope| envelope.data().len()).enumerate();
        let too_large = sizes.filter(|(_, size)| *size > max);
        let reason = |size| format!("the payload has {size} bytes and the broker takes at most {max}");
        let rejections: Vec<_> = too_large.map(|(index, size)| Rejection { index, reason: reason(size) }).collect();
        if rejections.is_empty() { Ok(()) } else { Err(PublishError::Rejected(rejections)) }
    }

    fn check_topics(&self, envelopes: &[Envelope]) -> Result<(), PublishError> {
        let missing = |envelope: &&Envelope| !self.topics.contains_key(envelope.topic());
        match envelopes.iter().find(missing) {
            None => Ok(()),
            Some(envelope) => {
                let problem = format!("there is no topic {:?}", envelope.topic());
                Err(PublishError::transient(problem))
            }
        }
    }

    fn append(&mut self, envelopes: impl IntoIterator<Item = Envelope>) {
        for envelope in envelopes {
            if let Some(log) = self.topics.get_mut(envelope.topic()) {
                log.append(envelope);
            }
        }
    }
}

/// Delivers to a [`MemoryBroker`].
///
/// *Transactional*, what belongs together becomes visible at once, at its complete end, together
/// with the feed's position, and the last publisher of a feed that resumed shuts out the others.
/// *Idempotent*, every part is visible at once and no position is kept: what follows a failure
/// repeats what came before it, with the same event ids. *Ephemeral* is transactional, but says that
/// the broker ends with the process: the feed's position is kept nowhere, and the next process
/// publishes the whole history to its new broker.
///
/// ```
/// use change_feed::publisher::{MemoryBroker, MemoryPublisher};
/// use change_feed::FeedName;
///
/// let broker = MemoryBroker::new();
/// let publisher = MemoryPublisher::transactional(&broker, &FeedName::new("orders")?);
/// # let _ = publisher;
/// # Ok::<(), change_feed::InvalidFeedName>(())
/// ```
#[derive(Debug)]
pub struct MemoryPublisher {
    broker: MemoryBroker,
    feed: FeedName,
    mode: Mode,
    session: Mutex<Session>,
}

#[derive(Debug, Default)]
struct Session {
    /// Which resumption this is; `None` if `resume` must come first.
    generation: Option<u64>,
    /// What was published since the last complete end.
    open: Vec<Envelope>,
}

impl MemoryPublisher {
    /// All or nothing, and each change once.
    pub fn transactional(broker: &MemoryBroker, feed: &FeedName) -> Self {
        Self::new(broker, feed, Mode::Transactional)
    }

    /// Without transactions and without a position of its own.
    pub fn idempotent(broker: &MemoryBroker, feed: &FeedName) -> Self {
        Self::new(broker, feed, Mode::Idempotent)
    }

    /// For a source that outlives the process, and so the broker.
    pub fn ephemeral(broker: &MemoryBroker, feed: &FeedName) -> Self {
        Self::new(broker, feed, Mode::Ephemeral)
    }

    fn new(broker: &MemoryBroker, feed: &FeedName, mode: Mode) -> Self {
        Self { broker: broker.clone(), feed: feed.clone(), mode, session: Mutex::default() }
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, session: &mut Session, part: &Part<'_>) -> Result<(), PublishError> {
        let mut state = self.broker.state();
        let Some(generation) = session.generation else {
            return Err(PublishError::transient("publish was called before resume"));
        };
        if self.mode == Mode::Idempotent {
            state.check_payloads(part.envelopes())?;
            state.check_topics(part.envelopes())?;
            state.append(part.envelopes().iter().cloned());
            return Ok(());
        }
        if state.generations.get(&self.feed) != Some(&generation) {
            return Err(PublishError::Fenced);
        }
        state.check_payloads(part.envelopes())?;
        match part.checkpoint() {
            None => session.open.extend_from_slice(part.envelopes()),
            Some(checkpoint) => {
                state.check_topics(&session.open)?;
                state.check_topics(part.envelopes())?;
                state.append(session.open.drain(..));
                state.append(part.envelopes().iter().cloned());
                state.checkpoints.insert(self.feed.clone(), checkpoint);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Publisher for MemoryPublisher {
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError> {
        let mut session = self.session();
        let delivered = self.deliver(&mut session, part);
        if delivered.is_err() {
            *session = Session::default();
        }
        self.broker.shared.appended.notify_waiters();
        delivered
    }

    async fn resume(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
        let topics = request.topics();
        let mut session = self.session();
        let mut state = self.broker.state();
        let kept = state.checkpoints.get(&self.feed).filter(|_| self.mode == Mode::Transactional).cloned();
        if let Some(kept) = &kept {
            request.check(kept)?;
        }
        for topic in topics {
            let missing = || Log::new(MemoryBroker::DEFAULT_PARTITIONS);
            state.topics.entry(Arc::clone(topic)).or_insert_with(missing);
        }
        let generation = state.generations.entry(self.feed.clone()).or_default();
        if self.mode != Mode::Idempotent {
            *generation += 1;
        }
        *session = Session { generation: Some(*generation), open: Vec::new() };
        let position = match (self.mode, kept) {
            (Mode::Idempotent, _) => KeptPosition::Never,
            (Mode::Ephemeral, _) => KeptPosition::Ephemeral,
            (Mode::Transactional, None) => KeptPosition::NotYet,
            (Mode::Transactional, Some(kept)) => KeptPosition::At(Box::new(kept)),
        };
        Ok(Resumed::new(self.broker.identity(self.mode, &state, topics), position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::MemoryDatabase;
    use crate::{End, Epoch, FeedIdentity, Mismatch, Position, Router, Side, SourceIdentity};

    const TOPIC: &str = "orders.events";

    fn feed() -> FeedName {
        FeedName::new("orders").expect("a valid name")
    }

    fn envelopes(keys: &[&str]) -> (Vec<Envelope>, End) {
        let database = MemoryDatabase::new();
        let position = database.commit(keys.iter().copied());
        let router = Router::to_topic(TOPIC);
        let route = |change| router.route(change, Epoch::FIRST).expect("a topic for events");
        (database.changes().into_iter().map(route).collect(), End::Complete(position))
    }

    async fn resumed_as(
        publisher: &MemoryPublisher,
        system: &str,
    ) -> Result<(FeedIdentity, KeptPosition), PublishError> {
        let source = SourceIdentity::new("memory", system, "events");
        let (name, topics) = (feed(), [Arc::from(TOPIC)]);
        let whatever = PublisherIdentity::new("memory", "one");
        let enrolled = FeedIdentity::new(feed(), Epoch::FIRST, source.clone(), whatever);
        let checkpoint = Checkpoint::new(enrolled, Position::ORIGIN);
        let request = Resume::new(&name, &source, Some(&checkpoint), &topics);
        let resumed = publisher.resume(&request).await?;
        Ok((FeedIdentity::new(feed(), Epoch::FIRST, source.clone(), resumed.identity), resumed.position))
    }

    async fn resumed(publisher: &MemoryPublisher) -> (FeedIdentity, KeptPosition) {
        resumed_as(publisher, "one").await.expect("resumed")
    }

    #[tokio::test]
    async fn what_belongs_together_becomes_visible_at_its_complete_end() {
        let broker = MemoryBroker::new();
        let publisher = MemoryPublisher::transactional(&broker, &feed());
        let (identity, position) = resumed(&publisher).await;
        assert_eq!(position, KeptPosition::NotYet);
        let (envelopes, end) = envelopes(&["a", "b", "a"]);
        let (first, rest) = envelopes.split_at(1);
        let continues = Part::new(&identity, first, &End::Continues);
        publisher.publish(&continues).await.expect("taken");
        assert!(broker.records(TOPIC).is_empty());
        let complete = Part::new(&identity, rest, &end);
        publisher.publish(&complete).await.expect("durable");
        let records = broker.records(TOPIC);
        assert_eq!(records.len(), 3);
        assert_eq!(records[0].partition, records[2].partition);
        assert!(records[0].offset < records[2].offset);
        let (_, position) = resumed(&publisher).await;
        let kept = complete.checkpoint().expect("a complete part");
        assert_eq!(position, KeptPosition::At(Box::new(kept)));
    }

    #[tokio::test]
    async fn what_was_open_at_a_resume_is_forgotten() {
        let broker = MemoryBroker::new();
        let publisher = MemoryPublisher::transactional(&broker, &feed());
        let (identity, _) = resumed(&publisher).await;
        let (envelopes, end) = envelopes(&["a"]);
        let open = Part::new(&identity, &envelopes, &End::Continues);
        publisher.publish(&open).await.expect("taken");
        let (identity, _) = resumed(&publisher).await;
        let complete = Part::new(&identity, &envelopes, &end);
        publisher.publish(&complete).await.expect("durable");
        assert_eq!(broker.records(TOPIC).len(), 1);
    }

    #[tokio::test]
    async fn the_last_one_that_resumed_shuts_out_the_others() {
        let broker = MemoryBroker::new();
        let old = MemoryPublisher::transactional(&broker, &feed());
        let (identity, _) = resumed(&old).await;
        let new = MemoryPublisher::transactional(&broker, &feed());
        resumed(&new).await;
        let (envelopes, end) = envelopes(&["a"]);
        let part = Part::new(&identity, &envelopes, &end);
        let refused = old.publish(&part).await;
        assert!(matches!(refused, Err(PublishError::Fenced)), "{refused:?}");
        assert!(broker.records(TOPIC).is_empty());
        new.publish(&part).await.expect("durable");
    }

    #[tokio::test]
    async fn a_relay_of_another_database_shuts_out_nobody() {
        let broker = MemoryBroker::new();
        let publisher = MemoryPublisher::transactional(&broker, &feed());
        let (identity, _) = resumed(&publisher).await;
        let (envelopes, end) = envelopes(&["a"]);
        let part = Part::new(&identity, &envelopes, &end);
        publisher.publish(&part).await.expect("durable");
        let stranger = MemoryPublisher::transactional(&broker, &feed());
        let refused = resumed_as(&stranger, "another").await;
        assert!(
            matches!(refused, Err(PublishError::Closed(Mismatch::Differs { what: "database", .. }))),
            "{refused:?}"
        );
        publisher.publish(&part).await.expect("not shut out");
    }

    #[tokio::test]
    async fn after_an_error_nothing_is_taken_before_a_resume() {
        let broker = MemoryBroker::new();
        broker.limit_payloads(1);
        let publisher = MemoryPublisher::transactional(&broker, &feed());
        let (identity, _) = resumed(&publisher).await;
        let (envelopes, end) = envelopes(&["a"]);
        let part = Part::new(&identity, &envelopes, &end);
        let rejected = publisher.publish(&part).await;
        assert!(
            matches!(&rejected, Err(PublishError::Rejected(rejections)) if rejections[0].index == 0),
            "{rejected:?}"
        );
        broker.limit_payloads(100);
        assert!(publisher.publish(&part).await.is_err());
        resumed(&publisher).await;
        publisher.publish(&part).await.expect("durable");
    }

    #[tokio::test]
    async fn a_topic_made_anew_has_another_id() {
        let broker = MemoryBroker::new();
        let publisher = MemoryPublisher::transactional(&broker, &feed());
        let (before, _) = resumed(&publisher).await;
        broker.delete_topic(TOPIC);
        let (after, _) = resumed(&publisher).await;
        assert!(after.clone().check(&before, Side::Publisher).is_err());
        broker.add_partitions(TOPIC, 1);
        let (more, _) = resumed(&publisher).await;
        assert!(more.check(&after, Side::Publisher).is_err());
    }

    #[tokio::test]
    async fn without_transactions_every_part_is_visible_at_once() {
        let broker = MemoryBroker::new();
        let publisher = MemoryPublisher::idempotent(&broker, &feed());
        let (identity, position) = resumed(&publisher).await;
        assert_eq!(position, KeptPosition::Never);
        let (envelopes, _) = envelopes(&["a"]);
        let continues = Part::new(&identity, &envelopes, &End::Continues);
        publisher.publish(&continues).await.expect("taken");
        assert_eq!(broker.wait_for_records(TOPIC, 1).await.len(), 1);
    }
}
