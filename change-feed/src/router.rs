//! Which topic a change goes to, and in which form.

use std::sync::Arc;

use crate::{Change, Content, Envelope, Epoch};

/// Picks the topic and the form of each change.
///
/// ```
/// use change_feed::Router;
///
/// let router = Router::to_topic("orders.events").source("/storefront");
/// assert_eq!(&*router.topics()[0], "orders.events");
/// ```
#[derive(Debug, Clone)]
pub struct Router {
    topic: Arc<str>,
    source: Arc<str>,
}

impl Router {
    /// Everything to one topic: events as CloudEvents.
    pub fn to_topic(topic: impl Into<Arc<str>>) -> Self {
        Self { topic: topic.into(), source: Arc::from("/change-feed") }
    }

    /// The CloudEvents attribute `source`: a URI reference that names the producer.
    /// `/change-feed` unless it is set.
    #[must_use]
    pub fn source(self, source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), ..self }
    }

    /// The topics that changes can go to.
    pub fn topics(&self) -> Vec<Arc<str>> {
        vec![Arc::clone(&self.topic)]
    }

    /// The envelope of a change.
    pub fn route(&self, change: Change, epoch: Epoch) -> Envelope {
        let Content::Event(event) = change.content;
        let (topic, source) = (Arc::clone(&self.topic), Arc::clone(&self.source));
        Envelope::cloud_event(topic, source, event, change.position, epoch).in_transaction(change.transaction)
    }
}
