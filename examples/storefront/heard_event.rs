//! An event as it was read back from the broker.

use std::time::Instant;

use change_feed::consumer::{Admission, ReceivedEvent};
use change_feed::kafka::Received;
use change_feed::{Epoch, EventId, Position};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

/// An event as it was read back from the broker.
#[derive(Debug, Clone)]
pub(crate) struct HeardEvent {
    event: ReceivedEvent,
    admission: Admission,
    heard_at: Instant,
    /// By the wall clock, to compare with the database's. `None` if it was in the topic for some time.
    heard_at_utc: Option<DateTime<Utc>>,
}

impl HeardEvent {
    /// An event that arrived just now.
    pub(crate) fn now(Received { event, admission, .. }: Received) -> Self {
        Self { event, admission, heard_at: Instant::now(), heard_at_utc: Some(Utc::now()) }
    }

    /// An event that was in the topic for some time.
    pub(crate) fn of_before(received: Received) -> Self {
        Self { heard_at_utc: None, ..Self::now(received) }
    }

    /// The event.
    pub(crate) fn event(&self) -> &ReceivedEvent {
        &self.event
    }

    /// When it arrived.
    pub(crate) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// Its form for clients of the live feed.
    pub(crate) fn to_live(&self) -> LiveEvent<'_> {
        let event = &self.event;
        LiveEvent {
            event_id: event.event_id(),
            event_type: event.event_type(),
            order_id: event.key(),
            version: event.version(),
            occurred_at: event.occurred_at().to_rfc3339_opts(SecondsFormat::Micros, true),
            partition: event.partition(),
            offset: event.offset(),
            position: event.position(),
            epoch: event.epoch(),
            milliseconds: self.milliseconds(),
            duplicate: matches!(self.admission, Admission::Duplicate | Admission::Replay),
            withheld: event.withheld_reason(),
            traceparent: event.traceparent(),
            payload: serde_json::from_slice(event.payload()).ok(),
        }
    }

    /// From when the database says that it was written until it was read back. By two clocks, the database's and ours:
    /// never below zero, whichever is late.
    fn milliseconds(&self) -> Option<f64> {
        let heard_at = self.heard_at_utc?;
        let microseconds = heard_at.signed_duration_since(self.event.occurred_at()).num_microseconds()?;
        Some(microseconds.max(0) as f64 / 1000.0)
    }
}

/// An event as JSON for clients of the live feed.
#[derive(Debug, Serialize)]
pub(crate) struct LiveEvent<'a> {
    event_id: EventId,
    #[serde(rename = "type")]
    event_type: &'a str,
    order_id: &'a str,
    version: u64,
    occurred_at: String,
    partition: u32,
    offset: u64,
    position: &'a Position,
    epoch: Epoch,
    /// Null for an event of before this storefront began to listen.
    milliseconds: Option<f64>,
    /// It came before, with the same id.
    duplicate: bool,
    /// Why there is no payload.
    withheld: Option<&'a str>,
    traceparent: Option<&'a str>,
    payload: Option<&'a RawValue>,
}
