//! Where envelopes go: the seam to a broker.

mod error;
mod memory;

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Checkpoint, Part, PublisherIdentity};

pub use error::PublishError;
pub use memory::{MemoryBroker, MemoryPublisher, MemoryRecord};

/// Delivers envelopes.
///
/// Only [`publish`](Publisher::publish) must be written; a publisher that keeps the feed's position
/// beside its records, or that can tell one cluster from another, writes
/// [`resume`](Publisher::resume) too.
///
/// # Contract
///
/// - **Calls**: `resume` first; then `publish`, one at a time; after any error `resume` again.
/// - **Order**: envelopes of one topic and key become visible in the order in which they are given (O).
/// - **Durable**: `Ok` at a complete end ([`Part::checkpoint`]) means that every envelope since the
///   last complete end is durable (L). `Ok` at an end that continues promises nothing.
/// - **Errors**: nothing is promised of the parts since the last complete end; the relay gives them
///   again after `resume`. A publisher that stores the position together with the records may have
///   committed them: `resume` then answers that position, and they don't come again (D). Any other
///   may publish some of them twice, with the same event ids.
/// - **Atomic**: a publisher that calls itself transactional shows all envelopes since the last
///   complete end or none (A).
/// - **Cancellation**: dropping the future of a call is an error of that call: `resume` follows.
/// - **Waiting**: every call ends, with an error if it must: a watchdog belongs to the publisher.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes a part.
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError>;

    /// Shuts out every earlier relay of the feed, forgets what was published since the last
    /// complete end, and says where the publisher stands.
    ///
    /// `topics` are those that will be written to: the publisher checks that it can, or makes them.
    async fn resume(&self, topics: &[Arc<str>]) -> Result<Resumed, PublishError> {
        let _ = topics;
        Ok(Resumed::without_position("custom"))
    }
}

/// Where a publisher stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// What it publishes to.
    pub identity: PublisherIdentity,
    /// The position that it keeps.
    pub position: KeptPosition,
}

impl Resumed {
    /// For a publisher of this kind that keeps no position: the source's decides.
    pub fn without_position(kind: &str) -> Self {
        let identity = PublisherIdentity {
            kind: kind.to_owned(),
            cluster: String::new(),
            topics: Default::default(),
        };
        Self {
            identity,
            position: KeptPosition::Never,
        }
    }
}

/// The position that a publisher keeps together with its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptPosition {
    /// This publisher keeps none.
    Never,
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

            async fn resume(&self, topics: &[Arc<str>]) -> Result<Resumed, PublishError> {
                (**self).resume(topics).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
