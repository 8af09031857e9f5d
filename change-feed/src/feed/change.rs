//! What a source captures.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::change_id::ChangeId;
use super::position::Position;
use super::row_change::RowChange;
use super::transaction::TransactionPlace;

/// One committed change, as a source captured it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// Its place in the source: after the previous complete end, at or before the next one. Not a place to start
    /// from, and without a tail. Of a row it is the same whichever run gives the change.
    pub position: Position,
    /// Its place in its database transaction, where the source can tell. `None` for what is in no transaction of a
    /// writer, as the rows of a snapshot are.
    pub transaction: Option<TransactionPlace>,
    /// Whether it is a change that was made just now, or something else that is published beside those.
    pub mark: Mark,
    /// What changed.
    pub content: Content,
}

/// What a record is to its readers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mark {
    /// A change, in the order of the commits.
    #[default]
    Change,
    /// A row as a snapshot read it: it was there before the feed, or before the table was captured.
    Snapshot,
    /// The state of a key at the beginning of an epoch: it holds the effect of every earlier change.
    ///
    /// An event has an id of its own then, since a consumer that knows the event must take the baseline all the same.
    Baseline,
    /// Published again on an operator's order: no duplicate, and out of order.
    Replay,
}

impl Change {
    /// An event at this position.
    pub fn event(position: Position, event: EventRecord) -> Self {
        Self { position, transaction: None, mark: Mark::Change, content: Content::Event(event) }
    }

    /// A change of a row at this position.
    pub fn row(position: Position, change: RowChange) -> Self {
        Self { position, transaction: None, mark: Mark::Change, content: Content::Row(change) }
    }

    /// With its place in its database transaction.
    #[must_use]
    pub fn in_transaction(self, place: TransactionPlace) -> Self {
        Self { transaction: Some(place), ..self }
    }

    /// With this mark.
    #[must_use]
    pub fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    /// What identifies it: see [`ChangeId`].
    pub fn id(&self) -> ChangeId {
        match &self.content {
            Content::Event(event) => ChangeId::event(event.event_id),
            Content::Row(_) => ChangeId::row(&self.position),
        }
    }
}

/// What changed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// An event was appended to an outbox.
    Event(EventRecord),
    /// A row of a published table changed.
    Row(RowChange),
}

/// A row of an outbox.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EventRecord {
    /// The outbox table that it stands in, schema-qualified as the source knows it.
    pub outbox: Arc<str>,
    /// The event's own id: a duplicate carries the same.
    pub event_id: EventId,
    /// The aggregate's id as text.
    pub key: Arc<str>,
    /// The version of the aggregate that this event closed: 1, 2, 3 …
    pub version: u64,
    /// The type as a consumer sees it (`order.item_added.v1`).
    pub event_type: Arc<str>,
    /// The payload, byte for byte as the database gives it (JSON).
    pub payload: Bytes,
    /// When the writer's database says that it happened.
    pub occurred_at: DateTime<Utc>,
    /// The writer's W3C trace context, where there was one.
    pub traceparent: Option<Arc<str>>,
}

impl EventRecord {
    /// A row of this outbox, without a trace context.
    pub fn new(
        outbox: Arc<str>,
        event_id: EventId,
        key: Arc<str>,
        version: u64,
        event_type: Arc<str>,
        payload: Bytes,
        occurred_at: DateTime<Utc>,
    ) -> Self {
        Self { outbox, event_id, key, version, event_type, payload, occurred_at, traceparent: None }
    }

    /// With the writer's W3C trace context.
    #[must_use]
    pub fn with_traceparent(self, traceparent: impl Into<Arc<str>>) -> Self {
        Self { traceparent: Some(traceparent.into()), ..self }
    }
}

/// The id of an event: a UUID, version 7 where this workspace generates it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// The event id that is this UUID.
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The UUID.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
