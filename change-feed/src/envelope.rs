//! The wire form of a change: topic, key, headers and payload.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::{Epoch, EventId, EventRecord, Position, TransactionPlace};

/// One record for a publisher.
///
/// An envelope holds its headers as values and writes them as text only when a publisher asks for
/// them ([`Envelope::visit_headers`]): routing a change allocates nothing of its own.
///
/// Cloning is cheap: key, payload and texts are shared.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    topic: Arc<str>,
    source: Arc<str>,
    event: EventRecord,
    position: Position,
    epoch: Epoch,
    transaction: Option<TransactionPlace>,
    marks: Marks,
}

/// What is unusual about an envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Marks {
    withheld: Option<Arc<str>>,
    replay: bool,
    baseline: bool,
}

impl Envelope {
    /// A [CloudEvents 1.0] envelope for an event of an outbox.
    ///
    /// `source` becomes the attribute `source` (a URI reference that names the producer).
    ///
    /// [CloudEvents 1.0]: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
    pub fn cloud_event(
        topic: Arc<str>,
        source: Arc<str>,
        event: EventRecord,
        position: Position,
        epoch: Epoch,
    ) -> Self {
        Self { topic, source, event, position, epoch, transaction: None, marks: Marks::default() }
    }

    /// With its place in its database transaction.
    #[must_use]
    pub fn in_transaction(mut self, place: Option<TransactionPlace>) -> Self {
        self.transaction = place;
        self
    }

    /// The longest reason that a withheld stub names, in bytes; a longer one is cut.
    pub const MAX_REASON_LEN_BYTES: usize = 200;

    /// The stub that takes the place of an envelope that can't be published: same topic, key,
    /// version and event id, the reason, and no data: of zero length, never null. The payload
    /// stays in the outbox, and so does the trace context, whose length nobody has bounded.
    #[must_use]
    pub fn withheld(mut self, reason: &str) -> Self {
        let mut end = reason.len().min(Self::MAX_REASON_LEN_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        self.event.payload = Bytes::new();
        self.event.traceparent = None;
        self.marks.withheld = Some(Arc::from(&reason[..end]));
        self
    }

    /// Marked as published again on an operator's order.
    #[must_use]
    pub fn replayed(mut self) -> Self {
        self.marks.replay = true;
        self
    }

    /// Marked as the state at the beginning of an epoch rather than a change. It has an id of its
    /// own, since a consumer that knows the event must take the baseline all the same.
    #[must_use]
    pub fn as_baseline(mut self, id: EventId) -> Self {
        self.event.event_id = id;
        self.marks.baseline = true;
        self
    }

    /// The topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The key: the aggregate's id as text. Its events go to one partition.
    pub fn key(&self) -> &str {
        &self.event.key
    }

    /// The payload, shared; empty in a withheld stub.
    pub fn payload(&self) -> Bytes {
        self.event.payload.clone()
    }

    /// The payload, borrowed: for publishers that count allocations.
    pub fn data(&self) -> &[u8] {
        &self.event.payload
    }

    /// The event's id; `None` for what is not an event.
    pub fn event_id(&self) -> Option<EventId> {
        Some(self.event.event_id)
    }

    /// The event's type as a consumer sees it; `None` for what is not an event.
    pub fn event_type(&self) -> Option<&str> {
        Some(&self.event.event_type)
    }

    /// The version of the aggregate that this event closed; `None` for what is not an event.
    pub fn version(&self) -> Option<u64> {
        Some(self.event.version)
    }

    /// When the writer's database says that it happened; `None` where it doesn't say.
    pub fn occurred_at(&self) -> Option<DateTime<Utc>> {
        Some(self.event.occurred_at)
    }

    /// Where the change stands in its source.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The feed's epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its place in its database transaction, where the source can tell.
    pub fn transaction(&self) -> Option<TransactionPlace> {
        self.transaction
    }

    /// Why the data is withheld, if it is.
    pub fn withheld_reason(&self) -> Option<&str> {
        self.marks.withheld.as_deref()
    }

    /// Whether it is published again on an operator's order.
    pub fn is_replay(&self) -> bool {
        self.marks.replay
    }

    /// Whether it is the state at the beginning of an epoch rather than a change.
    pub fn is_baseline(&self) -> bool {
        self.marks.baseline
    }

    /// Roughly the memory and the room on the wire that this envelope takes, in bytes.
    pub fn size_bytes(&self) -> usize {
        /// Fifteen headers with their names and values, measured on a typical order event.
        const HEADERS_BYTES: usize = 420;
        let traceparent = self.event.traceparent.as_ref().map_or(0, |text| text.len());
        self.event.payload.len() + self.event.key.len() + self.event.event_type.len() + traceparent + HEADERS_BYTES
    }

    /// Gives every header, name and value, in a fixed order.
    ///
    /// The names are those of the CloudEvents binding for Kafka (binary content mode), and the
    /// feed's own:
    ///
    /// | header | value |
    /// | --- | --- |
    /// | `ce_specversion` | `1.0` |
    /// | `ce_id` | the event id |
    /// | `ce_type` | the event's type |
    /// | `ce_source` | who produced it |
    /// | `ce_subject` | the aggregate's id |
    /// | `ce_time` | RFC 3339, UTC, microseconds |
    /// | `content-type` | `application/json`; absent in a withheld stub, which has no data |
    /// | `traceparent` | the writer's W3C trace context, where there was one |
    /// | `feed_version` | the aggregate's version, decimal |
    /// | `feed_position` | [`Position`]'s text, which sorts |
    /// | `feed_epoch` | decimal |
    /// | `feed_tx`, `feed_tx_index` | the database transaction and the place in it, decimal, where the source can tell |
    /// | `feed_tx_count` | on a transaction's last change: the number of its changes that were captured |
    /// | `feed_withheld` | why the data is missing |
    /// | `feed_replay`, `feed_baseline` | `true`, where they apply |
    pub fn visit_headers(&self, visit: &mut dyn FnMut(&'static str, &str)) {
        let mut text = String::with_capacity(72);
        let mut shown = |name, value: &dyn fmt::Display, visit: &mut dyn FnMut(&'static str, &str)| {
            text.clear();
            // Writing to a String can't fail, and no `Display` here reports an error of its own.
            let _ = write!(text, "{value}");
            visit(name, &text);
        };
        visit("ce_specversion", "1.0");
        shown("ce_id", &self.event.event_id, visit);
        visit("ce_type", &self.event.event_type);
        visit("ce_source", &self.source);
        visit("ce_subject", &self.event.key);
        visit("ce_time", &self.event.occurred_at.to_rfc3339_opts(SecondsFormat::Micros, true));
        if self.marks.withheld.is_none() {
            visit("content-type", "application/json");
        }
        if let Some(traceparent) = &self.event.traceparent {
            visit("traceparent", traceparent);
        }
        shown("feed_version", &self.event.version, visit);
        shown("feed_position", &self.position, visit);
        shown("feed_epoch", &self.epoch, visit);
        if let Some(place) = &self.transaction {
            shown("feed_tx", &place.id, visit);
            shown("feed_tx_index", &place.index, visit);
            if let Some(count) = &place.count {
                shown("feed_tx_count", count, visit);
            }
        }
        if let Some(reason) = &self.marks.withheld {
            visit("feed_withheld", reason);
        }
        if self.marks.replay {
            visit("feed_replay", "true");
        }
        if self.marks.baseline {
            visit("feed_baseline", "true");
        }
    }

    /// Every header as owned text, for publishers that don't count allocations.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::with_capacity(17);
        self.visit_headers(&mut |name, value| headers.push((name, value.to_owned())));
        headers
    }
}
