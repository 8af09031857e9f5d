//! Delivers to a broker that lives in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::broker::MemoryBroker;
use super::log::Log;
use super::mode::Mode;
use crate::feed::envelope::Envelope;
use crate::feed::identity::FeedName;
use crate::feed::part::Part;
use crate::publisher::{KeptPosition, PublishError, Publisher, Resume, Resumed};

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
/// use change_feed::memory::{MemoryBroker, MemoryPublisher};
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
        self.broker.tell();
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
    use crate::feed::checkpoint::Checkpoint;
    use crate::feed::identity::tests::identity;
    use crate::feed::identity::{Epoch, FeedIdentity, PublisherIdentity, SourceIdentity};
    use crate::feed::mismatch::{Mismatch, Side};
    use crate::feed::part::End;
    use crate::feed::position::Position;
    use crate::feed::router::Router;
    use crate::memory::database::MemoryDatabase;

    const TOPIC: &str = "orders.events";

    fn feed() -> FeedName {
        FeedName::new("orders").expect("a valid name")
    }

    fn envelopes(keys: &[&str]) -> (Vec<Envelope>, End) {
        let database = MemoryDatabase::new();
        let position = database.commit(keys.iter().copied());
        let router = Router::to_topic(TOPIC);
        let route = |change| router.route(change, &identity()).expect("a topic for events");
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
