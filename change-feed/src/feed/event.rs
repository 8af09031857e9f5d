//! An event of an outbox.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
    /// Whether it holds the state of an adopted aggregate, with the effect of all earlier versions.
    pub baseline: bool,
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
        Self { outbox, event_id, key, version, event_type, payload, occurred_at, traceparent: None, baseline: false }
    }

    /// With the writer's W3C trace context.
    #[must_use]
    pub fn with_traceparent(self, traceparent: impl Into<Arc<str>>) -> Self {
        Self { traceparent: Some(traceparent.into()), ..self }
    }

    /// As the baseline of an aggregate that was adopted.
    #[must_use]
    pub fn as_baseline(self) -> Self {
        Self { baseline: true, ..self }
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
