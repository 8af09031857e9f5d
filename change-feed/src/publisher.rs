//! Where envelopes go: the seam to a broker.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;

use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::{Epoch, FeedIdentity, FeedName, PublisherIdentity, SourceIdentity};
use crate::feed::mismatch::{Mismatch, Side};
use crate::feed::part::Part;

/// Delivers envelopes.
///
/// Only [`publish`](Publisher::publish) must be written; a publisher that keeps the feed's position
/// beside its records, or that can tell one cluster from another, writes
/// [`resume`](Publisher::resume) too.
///
/// # Contract
///
/// - **Calls**: `resume` first; then `publish`, one at a time: one part is in flight, and the next one comes after the
///   answer. Whenever the parts since the last complete end are abandoned, for an error of either side or by dropping
///   a future, `resume` comes before the next `publish`. [`release`](Publisher::release) is the last call.
/// - **Order**: envelopes of one topic and key become visible in the order in which they are given
///   (O). A key's partition is fixed by the number of partitions at `resume`; a publisher that finds
///   another number later answers [`PublishError::Closed`].
/// - **Durable**: `Ok` at a complete end ([`Part::checkpoint`]) means that every envelope since the
///   last complete end is durable (L). `Ok` at an end that continues promises nothing.
/// - **Errors**: nothing is promised of the parts since the last complete end; the relay gives them
///   again after `resume`. A publisher that stores the position together with the records may have
///   committed them: `resume` then answers that position, and they don't come again (D). Any other
///   may publish some of them twice, with the same event ids.
/// - **Atomic**: a publisher that calls itself transactional shows all envelopes since the last
///   complete end or none (A).
/// - **Waiting**: every call ends, with an error if it must: a watchdog belongs to the publisher.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes a part.
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError>;

    /// Forgets what was published since the last complete end, shuts out earlier relays of the
    /// feed where it can, and says where the publisher stands.
    ///
    /// A publisher that keeps a position first compares whose it is with the request, and answers
    /// [`PublishError::Closed`] before it shuts out anyone or creates anything: a copy of the
    /// database that is pointed at the wrong cluster must not stop the feed there. It reads the
    /// position *after* it has shut out the others.
    async fn resume(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
        let _ = request;
        Ok(Resumed::without_position("custom"))
    }

    /// Lets go of what the publisher holds at the broker, so that the next relay need not wait for it: an open
    /// transaction, a lease, a lock. The relay calls it on every way out, before the source's
    /// [`release`](crate::source::Source::release), also where `resume` was never called, and waits for a second; a
    /// process that dies calls nothing.
    async fn release(&self) {}
}

/// What a relay says of itself when it resumes a publisher.
#[derive(Debug, Clone, Copy)]
pub struct Resume<'a> {
    feed: &'a FeedName,
    source: &'a SourceIdentity,
    checkpoint: Option<&'a Checkpoint>,
    topics: &'a [Arc<str>],
    compacted_topics: &'a [Arc<str>],
    is_newly_elected: bool,
    rejoin: Option<Epoch>,
}

impl<'a> Resume<'a> {
    /// The relay of this feed, with what its source is and stores, and the topics that it will
    /// write to.
    pub fn new(
        feed: &'a FeedName,
        source: &'a SourceIdentity,
        checkpoint: Option<&'a Checkpoint>,
        topics: &'a [Arc<str>],
    ) -> Self {
        Self { feed, source, checkpoint, topics, compacted_topics: &[], is_newly_elected: false, rejoin: None }
    }

    /// The same, with those of the topics whose readers want the newest record of each key alone.
    #[must_use]
    pub fn compacting(self, topics: &'a [Arc<str>]) -> Self {
        Self { compacted_topics: topics, ..self }
    }

    /// The same, of a relay that has won an election since it last resumed this publisher.
    #[must_use]
    pub fn newly_elected(self) -> Self {
        Self { is_newly_elected: true, ..self }
    }

    /// The same, while a [rejoin](crate::source::Elected::rejoining) in this epoch is recorded at the source.
    #[must_use]
    pub fn rejoining(self, epoch: Epoch) -> Self {
        Self { rejoin: Some(epoch), ..self }
    }

    /// Whether the relay has won an election since it last resumed this publisher.
    ///
    /// A relay that was replaced, and is elected again when the other one has gone, takes the feed back. One that has
    /// held its election all the time and yet finds another in its place must not: there are two elections.
    pub fn is_newly_elected(&self) -> bool {
        self.is_newly_elected
    }

    /// The feed.
    pub fn feed(&self) -> &'a FeedName {
        self.feed
    }

    /// What it captures from.
    pub fn source(&self) -> &'a SourceIdentity {
        self.source
    }

    /// What the source was last told; `None` if the feed is new there.
    pub fn checkpoint(&self) -> Option<&'a Checkpoint> {
        self.checkpoint
    }

    /// Whether a position that the publisher keeps belongs to this relay's feed and source: what a
    /// publisher that keeps positions asks before it shuts out anyone.
    pub fn check(&self, kept: &Checkpoint) -> Result<(), Mismatch> {
        let Some(epoch) = self.rejoin.max(self.checkpoint.map(|checkpoint| checkpoint.identity.epoch)) else {
            return Err(Mismatch::Forgotten { known_by: Side::Publisher, position: kept.position.clone() });
        };
        let publisher = kept.identity.publisher.clone();
        let identity = FeedIdentity::new(self.feed.clone(), epoch, self.source.clone(), publisher);
        identity.check_while(self.rejoin, &kept.identity, Side::Publisher).map(drop)
    }

    /// The topics that will be written to: the publisher checks that it can, or makes them.
    pub fn topics(&self) -> &'a [Arc<str>] {
        self.topics
    }

    /// Whether a topic is to be compacted, if the publisher makes it: a tombstone then removes its key. Any other
    /// topic keeps every record.
    pub fn is_compacted(&self, topic: &str) -> bool {
        self.compacted_topics.iter().any(|compacted| **compacted == *topic)
    }
}

/// Where a publisher stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// What it publishes to.
    pub identity: PublisherIdentity,
    /// The position that it keeps.
    pub position: KeptPosition,
}

impl Resumed {
    /// For a publisher that publishes to this, and keeps this position.
    pub fn new(identity: PublisherIdentity, position: KeptPosition) -> Self {
        Self { identity, position }
    }

    /// For a publisher of this kind that keeps no position: the source's decides.
    pub fn without_position(kind: &str) -> Self {
        Self::new(PublisherIdentity::new(kind, ""), KeptPosition::Never)
    }
}

/// The position that a publisher keeps together with its records.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeptPosition {
    /// This publisher keeps none: what the source was told decides.
    Never,
    /// What this publisher publishes to lives no longer than the process: every process starts at
    /// the origin, compares nothing and acknowledges nothing.
    Ephemeral,
    /// It keeps one, and has none yet for this feed.
    NotYet,
    /// Everything through this checkpoint is published, and nothing after it.
    At(Box<Checkpoint>),
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<P: Publisher + ?Sized> Publisher for $pointer<P> {
            async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError> {
                (**self).publish(part).await
            }

            async fn resume(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
                (**self).resume(request).await
            }

            async fn release(&self) {
                (**self).release().await;
            }
        }
    };
}

forward!(Arc);
forward!(Box);

/// Why a part was not published, by what the relay does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Again, after a pause: the broker is away or busy.
    #[error("the broker is not available at present; nothing is lost, the relay tries again")]
    Transient(#[source] Box<dyn Error + Send + Sync>),
    /// Envelopes of this part that can't be published, now or later: the relay withholds them or
    /// stops. Nothing of the part was published.
    #[error("{} of the part can't be published", count(.0))]
    Rejected(Vec<Rejection>),
    /// Another relay of the same feed took over.
    #[error("another relay of this feed took over")]
    Fenced,
    /// What the publisher holds doesn't belong to this feed.
    #[error("the feed can't go on from its position")]
    Closed(#[from] Mismatch),
    /// Stop: trying again changes nothing before somebody changes the set-up.
    #[error("{what}")]
    Fatal {
        /// What is wrong and what to do about it.
        what: String,
        /// What the broker said, where it said something.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl PublishError {
    /// Again, after a pause.
    pub fn transient(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Transient(source.into())
    }

    /// The envelope at `index` can't be published. `reason` is published in its place: it must
    /// hold nothing of the payload.
    pub fn rejected(index: usize, reason: impl Into<String>) -> Self {
        Self::Rejected(vec![Rejection { index, reason: reason.into() }])
    }

    /// Stop.
    pub fn fatal(what: impl Into<String>) -> Self {
        Self::Fatal { what: what.into(), source: None }
    }
}

/// An envelope that can't be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Its index in the part.
    pub index: usize,
    /// Why, in words that may be published.
    pub reason: String,
}

fn count(rejections: &[Rejection]) -> String {
    match rejections {
        [only] => format!("envelope {} ({})", only.index, only.reason),
        many => format!("{} envelopes", many.len()),
    }
}
