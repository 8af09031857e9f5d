//! What a source captures.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::position::Position;
use super::row_change::RowChange;

/// One committed change, as a source captured it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// Where it stands in the source: after the previous complete end, at or before the next one.
    /// Not a place to start from, and without a tail.
    pub position: Position,
    /// Its place in its database transaction, where the source can tell.
    pub transaction: Option<TransactionPlace>,
    /// What changed.
    pub content: Content,
}

impl Change {
    /// An event at this position.
    pub fn event(position: Position, event: EventRecord) -> Self {
        Self { position, transaction: None, content: Content::Event(event) }
    }

    /// A change of a row at this position.
    pub fn row(position: Position, change: RowChange) -> Self {
        Self { position, transaction: None, content: Content::Row(change) }
    }

    /// With its place in its database transaction.
    #[must_use]
    pub fn in_transaction(self, place: TransactionPlace) -> Self {
        Self { transaction: Some(place), ..self }
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

/// The place of a change in its database transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionPlace {
    /// The database's id of the transaction (PostgreSQL: `xid8`).
    pub id: u64,
    /// 0 for the transaction's first change.
    pub index: u32,
    /// The number of changes that were captured of the transaction; only on its last one.
    pub count: Option<u32>,
    /// On the last change of each part but the last of a transaction that is published in parts, since it is too
    /// large or takes too long for one: 1 for the first part.
    pub part: Option<u32>,
}

impl TransactionPlace {
    /// The place of a change that is not the transaction's last, or not known to be.
    pub const fn new(id: u64, index: u32) -> Self {
        Self { id, index, count: None, part: None }
    }

    /// The place of the last change of a transaction of `count` changes.
    pub const fn last(id: u64, count: u32) -> Self {
        Self { id, index: count.saturating_sub(1), count: Some(count), part: None }
    }

    /// The same place, as the last one of this part of a transaction that is published in parts.
    #[must_use]
    pub const fn ending_part(self, part: u32) -> Self {
        Self { part: Some(part), ..self }
    }
}
