//! Which topic a change goes to, and in which form.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::{Change, Content};
use super::envelope::Envelope;
use super::identity::FeedIdentity;

/// Picks the topic and the form of each change.
///
/// Events go to one topic as CloudEvents. Rows go to a topic for each table, `<prefix>.<schema>.<table>`, in the
/// [form](RowFormat) chosen for it.
///
/// ```
/// use change_feed::{Router, RowFormat};
///
/// let router = Router::to_topic("orders.events")
///     .source("/storefront")
///     .rows("store", ["public.orders", "public.order_items"], RowFormat::Flat);
/// let topics = router.topics();
/// assert_eq!(topics.iter().map(|topic| &**topic).collect::<Vec<_>>(),
///     ["orders.events", "store.public.order_items", "store.public.orders"]);
/// ```
#[derive(Debug, Clone)]
pub struct Router {
    events: Option<Arc<str>>,
    source: Arc<str>,
    /// By the table's qualified name.
    tables: BTreeMap<Arc<str>, RowRoute>,
}

/// How the rows of a table are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RowFormat {
    /// The row as one JSON object, and a tombstone where it was deleted: for compacted topics. See
    /// [`Envelope::flat_row`].
    Flat,
}

#[derive(Debug, Clone)]
struct RowRoute {
    topic: Arc<str>,
    format: RowFormat,
}

/// A change that the router was not told where to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the source captured {what}, and the router has no topic for it")]
pub struct NoRoute {
    what: Arc<str>,
}

impl Router {
    /// Every event to one topic, as CloudEvents.
    pub fn to_topic(topic: impl Into<Arc<str>>) -> Self {
        Self { events: Some(topic.into()), ..Self::rows_only() }
    }

    /// No events: to be told where rows go.
    pub fn rows_only() -> Self {
        Self { events: None, source: Arc::from("/change-feed"), tables: BTreeMap::new() }
    }

    /// The CloudEvents attribute `source`: a URI reference that names the producer.
    /// `/change-feed` unless it is set.
    #[must_use]
    pub fn source(self, source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), ..self }
    }

    /// The rows of these tables (`schema.table`, as they are: not quoted) to the topics `<prefix>.<schema>.<table>`.
    ///
    /// Kafka allows ASCII letters, digits, `.`, `_` and `-` in a topic's name: a publisher refuses what it can't have.
    #[must_use]
    pub fn rows<T: Into<Arc<str>>>(
        mut self,
        prefix: &str,
        tables: impl IntoIterator<Item = T>,
        format: RowFormat,
    ) -> Self {
        for table in tables {
            let table = table.into();
            let topic = Arc::from(format!("{prefix}.{table}"));
            self.tables.insert(table, RowRoute { topic, format });
        }
        self
    }

    /// The rows of one table (`schema.table`, as it is: not quoted) to this topic.
    ///
    /// Give each table a topic of its own: rows of two tables can have the same key, and compaction would keep one of them.
    #[must_use]
    pub fn rows_of(mut self, table: impl Into<Arc<str>>, topic: impl Into<Arc<str>>, format: RowFormat) -> Self {
        self.tables.insert(table.into(), RowRoute { topic: topic.into(), format });
        self
    }

    /// The topics that changes can go to.
    pub fn topics(&self) -> Vec<Arc<str>> {
        self.events.iter().chain(self.tables.values().map(|route| &route.topic)).map(Arc::clone).collect()
    }

    /// The topics whose readers want the newest record of each key alone: topics to be compacted.
    pub fn compacted_topics(&self) -> Vec<Arc<str>> {
        let flat = self.tables.values().filter(|route| route.format == RowFormat::Flat);
        flat.map(|route| Arc::clone(&route.topic)).collect()
    }

    /// The envelope of a change of this feed.
    ///
    /// # Errors
    ///
    /// [`NoRoute`] for an event without a topic for events, and for a row of a table that was not named.
    pub fn route(&self, change: Change, feed: &FeedIdentity) -> Result<Envelope, NoRoute> {
        let Change { position, transaction, mark, content } = change;
        let envelope = match content {
            Content::Event(event) => {
                let topic = self.events.as_ref().ok_or_else(|| NoRoute { what: Arc::clone(&event.outbox) })?;
                Envelope::cloud_event(Arc::clone(topic), Arc::clone(&self.source), event, position, feed)
            }
            Content::Row(change) => {
                let route = self.tables.get(change.table.qualified_name());
                let RowRoute { topic, format } =
                    route.ok_or_else(|| NoRoute { what: Arc::from(change.table.qualified_name()) })?;
                match format {
                    RowFormat::Flat => Envelope::flat_row(Arc::clone(topic), change, position, feed),
                }
            }
        };
        Ok(envelope.in_transaction(transaction).marked(mark))
    }
}
