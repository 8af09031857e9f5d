//! Relays that are broken on purpose: what the judge must see.

use std::time::Duration;

use async_trait::async_trait;
use change_feed::publisher::{Resume, Resumed};
use change_feed::source::{Elected, Start};
use change_feed::{
    Changes, Checkpoint, End, Envelope, FeedIdentity, KafkaPublisher, Part, PublishError, Publisher, Source,
    SourceError,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// What is wrong with a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Flaw {
    /// Its publisher says that a part is durable before it is even sent.
    AcknowledgesTooEarly,
    /// Its source is told what is published long after it is.
    AcknowledgesTooLate,
}

/// Long enough that a kill at any moment finds something on the way.
const TOO_LONG: Duration = Duration::from_millis(500);

/// Says that a part is durable before it is even sent.
pub(crate) struct Hasty {
    inner: std::sync::Arc<KafkaPublisher>,
    parts: UnboundedSender<Kept>,
}

/// A part that outlives the call.
struct Kept {
    identity: FeedIdentity,
    envelopes: Vec<Envelope>,
    end: End,
}

impl Hasty {
    pub(crate) fn new(inner: KafkaPublisher) -> Self {
        let inner = std::sync::Arc::new(inner);
        let (parts, mut waiting) = unbounded_channel::<Kept>();
        let publisher = std::sync::Arc::clone(&inner);
        tokio::spawn(async move {
            while let Some(part) = waiting.recv().await {
                tokio::time::sleep(TOO_LONG).await;
                let published = publisher.publish(&Part::new(&part.identity, &part.envelopes, &part.end)).await;
                published.expect("the broker is there");
            }
        });
        Self { inner, parts }
    }
}

#[async_trait]
impl Publisher for Hasty {
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError> {
        let (identity, envelopes, end) = (part.identity().clone(), part.envelopes().to_vec(), part.end().clone());
        self.parts.send(Kept { identity, envelopes, end }).map_err(|_| PublishError::transient("nobody sends it"))
    }

    async fn resume(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
        self.inner.resume(request).await
    }
}

/// Is told late what is published.
pub(crate) struct Tardy<S>(pub(crate) S);

#[async_trait]
impl<S: Source> Source for Tardy<S> {
    async fn elect(&self) -> Result<Elected, SourceError> {
        self.0.elect().await
    }

    async fn start(&self, start: &Start<'_>) -> Result<(), SourceError> {
        self.0.start(start).await
    }

    async fn next(&self) -> Result<Changes, SourceError> {
        self.0.next().await
    }

    async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError> {
        tokio::time::sleep(TOO_LONG).await;
        self.0.acknowledge(checkpoint).await
    }

    async fn release(&self) {
        self.0.release().await;
    }
}
