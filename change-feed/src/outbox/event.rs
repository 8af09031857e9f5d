//! An event that is appended to an outbox.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::key::Key;

/// An event that closes a version of an aggregate.
///
/// ```
/// use change_feed::outbox::Event;
///
/// let payload = serde_json::json!({ "sku": "milk", "quantity": 2 });
/// let event = Event::new("invoice.line_added.v1", 42, 7, &payload)
///     .traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
/// assert_eq!(event.version(), 7);
/// assert_eq!(event.id().get_version_num(), 7, "a UUID of version 7");
/// ```
#[derive(Clone)]
pub struct Event<'a, P: ?Sized> {
    id: Uuid,
    event_type: &'a str,
    key: Key,
    version: i64,
    payload: &'a P,
    occurred_at: Option<DateTime<Utc>>,
    traceparent: Option<&'a str>,
}

impl<'a, P: ?Sized> Event<'a, P> {
    /// Creates the event of this version of this aggregate, with a new id. The payload becomes JSON when it is appended.
    pub fn new(event_type: &'a str, key: impl Into<Key>, version: i64, payload: &'a P) -> Self {
        Self { id: Uuid::now_v7(), event_type, key: key.into(), version, payload, occurred_at: None, traceparent: None }
    }

    /// Sets the id. Ids of UUID version 7 keep the index small.
    #[must_use]
    pub fn with_id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// Sets the time when it happened, kept to the microsecond. By default the database's clock when it is appended.
    #[must_use]
    pub fn occurred_at(mut self, time: DateTime<Utc>) -> Self {
        self.occurred_at = Some(time);
        self
    }

    /// Sets the writer's [trace context](https://www.w3.org/TR/trace-context/#traceparent-header), which consumers receive.
    #[must_use]
    pub fn traceparent(mut self, traceparent: &'a str) -> Self {
        self.traceparent = Some(traceparent);
        self
    }

    /// The event's id. A duplicate has the same id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The type of the event, as the outbox stores it.
    pub fn event_type(&self) -> &'a str {
        self.event_type
    }

    /// The aggregate's id.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The version that it closes.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The payload, which becomes the JSON of the record.
    pub fn payload(&self) -> &'a P {
        self.payload
    }
}

/// Leaves the payload out, which must not appear in logs.
impl<P: ?Sized> fmt::Debug for Event<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("event_type", &self.event_type)
            .field("key", &self.key)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The parameters of an event's insert.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub struct EventRow<'a> {
    pub id: Uuid,
    pub key: &'a Key,
    pub version: i64,
    pub event_type: &'a str,
    pub payload: String,
    pub occurred_at: Option<DateTime<Utc>>,
    pub traceparent: Option<&'a str>,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl<P: serde::Serialize + ?Sized> Event<'_, P> {
    pub(crate) fn row(&self) -> Result<EventRow<'_>, serde_json::Error> {
        Ok(EventRow {
            id: self.id,
            key: &self.key,
            version: self.version,
            event_type: self.event_type,
            payload: serde_json::to_string(self.payload())?,
            occurred_at: self.occurred_at,
            traceparent: self.traceparent,
        })
    }
}
