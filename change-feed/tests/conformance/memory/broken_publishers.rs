//! Publishers that are broken on purpose: each wraps a sound one and does one thing wrong.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use change_feed::memory::{MemoryBroker, MemoryPublisher};
use change_feed::publisher::{KeptPosition, PublishError, Rejection, Resume, Resumed};
use change_feed::{
    Change, Checkpoint, End, Envelope, EventId, EventRecord, FeedIdentity, FeedName, Mark, Part, Position, Publisher,
    PublisherIdentity, Router, SourceIdentity,
};

use crate::conformance::memory::memory_publisher::{SharedByFlaws, TOPIC, Wired};

/// What is wrong with a publisher.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Flaw {
    DropsAnEnvelope,
    PublishesTwice,
    Reorders,
    ChoosesPartitionsByTurn,
    ChangesAHeader,
    ChangesPayloads,
    UnmarksStubs,
    TakesEmptyForNull,
    TakesNullForEmpty,
    IgnoresEmptyParts,
    MovesThePositionFirst,
    AnswersAnOlderPosition,
    AnswersNoPosition,
    ShowsPieces,
    ForgetsToAbort,
    DoesNotFence,
    FencesBeforeItCompares,
    NeverCompares,
    MixesIndexes,
    ShowsWhatPrecedesARejection,
    RemembersItsPosition,
    SharesOnePosition,
}

pub(crate) struct Flawed {
    flaw: Flaw,
    inner: Arc<dyn Publisher>,
    /// Publishes past the flawed one's session, where everything is visible at once.
    beside: MemoryPublisher,
    shared: Arc<SharedByFlaws>,
    memory: Mutex<Memory>,
}

/// What a flawed publisher remembers and should not.
#[derive(Default)]
struct Memory {
    open: Vec<Envelope>,
    last: Option<Checkpoint>,
}

impl Flawed {
    pub(crate) fn new(
        flaw: Flaw,
        sound: Wired,
        feed: &FeedName,
        broker: &MemoryBroker,
        shared: &Arc<SharedByFlaws>,
    ) -> Self {
        let mut inner: Arc<dyn Publisher> = Arc::new(sound);
        let mut publishers = shared.publishers.lock().expect("not poisoned");
        let other = publishers.iter().find(|(name, _)| name == feed);
        match other.filter(|_| flaw == Flaw::DoesNotFence) {
            Some((_, publisher)) => inner = Arc::clone(publisher),
            None => publishers.push((feed.clone(), Arc::clone(&inner))),
        }
        drop(publishers);
        let beside = MemoryPublisher::idempotent(broker, feed);
        Self { flaw, inner, beside, shared: Arc::clone(shared), memory: Mutex::default() }
    }

    async fn publish_beside(&self, envelopes: &[Envelope], like: &Part<'_>) -> Result<(), PublishError> {
        let (feed, source) = (&like.identity().feed, &like.identity().source);
        self.beside.resume(&Resume::new(feed, source, None, &[TOPIC.into()])).await?;
        self.beside.publish(&Part::new(like.identity(), envelopes, &End::Continues)).await
    }

    /// What the inner publisher is given.
    fn alter(&self, part: &Part<'_>) -> Vec<Envelope> {
        let mut envelopes = part.envelopes().to_vec();
        match self.flaw {
            // The last one of a key in the part: a hole inside would look like the wrong order.
            Flaw::DropsAnEnvelope if envelopes.len() > 10 => drop(envelopes.pop()),
            Flaw::PublishesTwice if envelopes.len() > 10 => envelopes.extend(part.envelopes().last().cloned()),
            Flaw::Reorders => {
                let first = envelopes.first().cloned();
                let same = |envelope: &Envelope| first.as_ref().is_some_and(|first| first.key() == envelope.key());
                if let Some(other) = envelopes.iter().rposition(same) {
                    envelopes.swap(0, other);
                }
            }
            Flaw::ChangesAHeader => rewrite(&mut envelopes, "/elsewhere", |payload| payload.to_vec()),
            Flaw::ChangesPayloads => rewrite(&mut envelopes, "/conformance", |payload| {
                let spaced = String::from_utf8_lossy(payload).replace("12.50", "12.5");
                spaced.into_bytes()
            }),
            Flaw::UnmarksStubs => {
                let is_stub = |envelope: &&mut Envelope| envelope.withheld_reason().is_some() && is_event(envelope);
                for envelope in envelopes.iter_mut().filter(is_stub) {
                    rewrite_one(envelope, "/conformance", |payload| payload.to_vec());
                }
            }
            _ => {}
        }
        envelopes
    }

    fn remember(&self, part: &Part<'_>) -> Option<Checkpoint> {
        let mut memory = self.memory.lock().expect("not poisoned");
        part.checkpoint().and_then(|checkpoint| memory.last.replace(checkpoint))
    }
}

#[async_trait]
impl Publisher for Flawed {
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError> {
        let altered = self.alter(part);
        let inner = |envelopes: &[Envelope], end: &End| {
            let (identity, envelopes, end) = (part.identity().clone(), envelopes.to_vec(), end.clone());
            async move { self.inner.publish(&Part::new(&identity, &envelopes, &end)).await }
        };
        match self.flaw {
            Flaw::IgnoresEmptyParts if altered.is_empty() => Ok(()),
            Flaw::MovesThePositionFirst if part.end().position().is_some() => {
                inner(&[], part.end()).await?;
                tokio::task::yield_now().await;
                inner(&altered, part.end()).await
            }
            Flaw::ShowsPieces if part.end() == &End::Continues => self.publish_beside(&altered, part).await,
            Flaw::ForgetsToAbort => {
                let mut memory = std::mem::take(&mut *self.memory.lock().expect("not poisoned"));
                memory.open.extend(altered);
                if part.end() == &End::Continues {
                    *self.memory.lock().expect("not poisoned") = memory;
                    return Ok(());
                }
                inner(&memory.open, part.end()).await
            }
            Flaw::MixesIndexes | Flaw::ShowsWhatPrecedesARejection => match inner(&altered, part.end()).await {
                Err(PublishError::Rejected(rejections)) if self.flaw == Flaw::MixesIndexes => {
                    let mixed = rejections
                        .into_iter()
                        .map(|Rejection { index, reason }| Rejection { index: index.saturating_sub(1), reason });
                    Err(PublishError::Rejected(mixed.collect()))
                }
                Err(PublishError::Rejected(rejections)) => {
                    let before = &altered[..rejections[0].index];
                    self.publish_beside(before, part).await?;
                    Err(PublishError::Rejected(rejections))
                }
                other => other,
            },
            _ => {
                inner(&altered, part.end()).await?;
                let _ = self.remember(part);
                Ok(())
            }
        }
    }

    async fn resume(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
        if matches!(self.flaw, Flaw::FencesBeforeItCompares | Flaw::NeverCompares) {
            return self.resume_as_the_first(request).await;
        }
        let mut resumed = self.inner.resume(request).await?;
        let remembered = self.memory.lock().expect("not poisoned").last.clone();
        match (self.flaw, remembered, &mut resumed.position) {
            (Flaw::AnswersAnOlderPosition, _, KeptPosition::At(kept)) => {
                let before = kept.position.major().saturating_sub(1);
                kept.position = Position::new('c', before, 0);
            }
            (Flaw::AnswersNoPosition, _, position) => *position = KeptPosition::NotYet,
            (Flaw::RemembersItsPosition, Some(last), position) => *position = KeptPosition::At(Box::new(last)),
            _ => {}
        }
        Ok(resumed)
    }
}

impl Flawed {
    async fn resume_as_the_first(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
        let first = {
            let mut sources = self.shared.sources.lock().expect("not poisoned");
            sources.entry(request.feed().clone()).or_insert_with(|| request.source().clone()).clone()
        };
        let as_first = Resume::new(request.feed(), &first, request.checkpoint(), request.topics());
        let resumed = self.inner.resume(&as_first).await?;
        if self.flaw == Flaw::FencesBeforeItCompares && first != *request.source() {
            // Now it compares.
            return self.inner.resume(request).await;
        }
        Ok(resumed)
    }
}

fn is_event(envelope: &Envelope) -> bool {
    envelope.event_id().is_some()
}

fn rewrite(envelopes: &mut [Envelope], source: &str, payload: impl Fn(&[u8]) -> Vec<u8>) {
    let plain = |envelope: &&mut Envelope| {
        is_event(envelope)
            && envelope.withheld_reason().is_none()
            && envelope.mark() == Mark::Change
            && envelope.transaction().is_none()
            && envelope.headers().iter().all(|(name, _)| *name != "traceparent")
    };
    envelopes.iter_mut().filter(plain).for_each(|envelope| rewrite_one(envelope, source, &payload));
}

/// The same event with another source and another payload, and without marks.
fn rewrite_one(envelope: &mut Envelope, source: &str, payload: impl Fn(&[u8]) -> Vec<u8>) {
    let id: EventId = envelope.event_id().expect("an event");
    let event = EventRecord::new(
        "events".into(),
        id,
        envelope.key().into(),
        envelope.version().expect("an event"),
        envelope.event_type().expect("an event").into(),
        payload(envelope.data()).into(),
        envelope.occurred_at().expect("an event"),
    );
    let change = Change::event(envelope.position().clone(), event);
    let (system, cluster) = (SourceIdentity::new("", "", ""), PublisherIdentity::new("", ""));
    let feed = FeedIdentity::new(envelope.feed().clone(), envelope.epoch(), system, cluster);
    *envelope = Router::to_topic(TOPIC).source(source).route(change, &feed).expect("a topic for events");
}
