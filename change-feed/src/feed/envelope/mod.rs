//! The wire form of a change: topic, key, headers and payload.

mod cloud_event;
mod flat;
pub(crate) mod header;

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::change::Mark;
use super::change_id::ChangeId;
use super::event::{EventId, EventRecord};
use super::identity::{Epoch, FeedIdentity, FeedName};
use super::position::Position;
use super::row_change::{Operation, RowChange};
use super::transaction::TransactionPlace;
use cloud_event::CloudEvent;
use flat::FlatRow;
use header::{Headers, name};

/// One record for a publisher.
///
/// An envelope holds its headers as values and writes them as text only when a publisher asks for
/// them ([`Envelope::visit_headers`]): routing an event allocates nothing of its own.
///
/// Cloning is cheap: key, payload and texts are shared.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    topic: Arc<str>,
    form: Form,
    feed: FeedName,
    epoch: Epoch,
    position: Position,
    transaction: Option<TransactionPlace>,
    mark: Mark,
    withheld: Option<Arc<str>>,
}

/// What differs from format to format.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    CloudEvent(CloudEvent),
    FlatRow(FlatRow),
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
        feed: &FeedIdentity,
    ) -> Self {
        Self::new(topic, Form::CloudEvent(CloudEvent { source, event }), position, feed)
    }

    /// A row as one JSON object of its columns, for a compacted topic; a deleted row is a tombstone: no value.
    ///
    /// - The key is the text of the row's key column. A key of several columns is a JSON object of them.
    /// - In the value every column stands under its name: numbers, booleans and JSON as such, the rest as text.
    ///   A value that the log does not carry (stored outside of the row, not touched by the change, and no
    ///   full image before it) is *left out*, and its column named in the header `feed_unchanged`: readers
    ///   keep what they have.
    /// - A truncation is a tombstone with an empty key and the header `feed_op: truncate`. It stands in one
    ///   partition, so readers of the others hear of it at another time, and compaction leaves the rows before
    ///   it: where readers must follow a truncation exactly, delete the rows instead.
    pub fn flat_row(topic: Arc<str>, change: RowChange, position: Position, feed: &FeedIdentity) -> Self {
        Self::new(topic, Form::FlatRow(FlatRow::new(&change)), position, feed)
    }

    fn new(topic: Arc<str>, form: Form, position: Position, feed: &FeedIdentity) -> Self {
        let (feed, epoch) = (feed.feed.clone(), feed.epoch);
        Self { topic, form, feed, epoch, position, transaction: None, mark: Mark::Change, withheld: None }
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
    /// stays in the database, and so does the trace context, whose length nobody has bounded.
    #[must_use]
    pub fn withheld(mut self, reason: &str) -> Self {
        let mut end = reason.len().min(Self::MAX_REASON_LEN_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        match &mut self.form {
            Form::CloudEvent(form) => form.withhold(),
            Form::FlatRow(form) => form.withhold(),
        }
        self.withheld = Some(Arc::from(&reason[..end]));
        self
    }

    /// With this mark.
    #[must_use]
    pub fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    /// The topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The key: the aggregate's id, or the row's, as text. What has the same key goes to one partition.
    pub fn key(&self) -> &str {
        match &self.form {
            Form::CloudEvent(form) => &form.event.key,
            Form::FlatRow(form) => &form.key,
        }
    }

    /// The value: empty in a withheld stub, `None` in a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        match &self.form {
            Form::CloudEvent(form) => Some(&form.event.payload),
            Form::FlatRow(form) => form.value.as_deref(),
        }
    }

    /// The payload, shared; empty in a withheld stub and in a tombstone.
    pub fn payload(&self) -> Bytes {
        match &self.form {
            Form::CloudEvent(form) => form.event.payload.clone(),
            Form::FlatRow(form) => form.value.clone().unwrap_or_default(),
        }
    }

    /// The payload, borrowed: for publishers that count allocations. See [`value`](Self::value), which tells a
    /// tombstone.
    pub fn data(&self) -> &[u8] {
        self.value().unwrap_or_default()
    }

    fn event(&self) -> Option<&EventRecord> {
        match &self.form {
            Form::CloudEvent(form) => Some(&form.event),
            Form::FlatRow(_) => None,
        }
    }

    /// The event's id; `None` for what is not an event.
    pub fn event_id(&self) -> Option<EventId> {
        self.event().map(|event| event.event_id)
    }

    /// The event's type as a consumer sees it; `None` for what is not an event.
    pub fn event_type(&self) -> Option<&str> {
        self.event().map(|event| &*event.event_type)
    }

    /// The version of the aggregate that this event closed; `None` for what is not an event.
    pub fn version(&self) -> Option<u64> {
        self.event().map(|event| event.version)
    }

    /// What was done to the row; `None` for what is not a row.
    pub fn operation(&self) -> Option<Operation> {
        match &self.form {
            Form::CloudEvent(_) => None,
            Form::FlatRow(form) => Some(form.operation),
        }
    }

    /// When the database says that it happened; `None` where it doesn't say. For a row: that it committed.
    pub fn occurred_at(&self) -> Option<DateTime<Utc>> {
        Some(match &self.form {
            Form::CloudEvent(form) => form.event.occurred_at,
            Form::FlatRow(form) => form.committed_at,
        })
    }

    /// What identifies the change: see [`ChangeId`].
    pub fn change_id(&self) -> ChangeId {
        match &self.form {
            Form::CloudEvent(form) => ChangeId::event(form.event.event_id),
            Form::FlatRow(_) => ChangeId::row(&self.position),
        }
    }

    /// The place of the change in its source.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The feed that publishes it.
    pub fn feed(&self) -> &FeedName {
        &self.feed
    }

    /// The feed's epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its place in its database transaction, where the source can tell.
    pub fn transaction(&self) -> Option<&TransactionPlace> {
        self.transaction.as_ref()
    }

    /// Why the data is withheld, if it is.
    pub fn withheld_reason(&self) -> Option<&str> {
        self.withheld.as_deref()
    }

    /// Whether it is a change, or something else that is published beside those.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// Roughly the memory and the room on the wire that this envelope takes, in bytes.
    pub fn size_bytes(&self) -> usize {
        match &self.form {
            Form::CloudEvent(form) => form.size_bytes(),
            Form::FlatRow(form) => form.size_bytes(),
        }
    }

    /// Gives every header, name and value, in a fixed order.
    ///
    /// The names of an event are those of the CloudEvents binding for Kafka (binary content mode), and the
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
    /// | `content-type` | `application/json`; absent in a withheld stub and a tombstone, which have no data |
    /// | `traceparent` | the writer's W3C trace context, where there was one |
    /// | `feed_version` | the aggregate's version, decimal |
    /// | `feed_op` | a row's operation: `insert`, `update`, `delete`, `truncate` |
    /// | `feed_committed_at` | a row's, RFC 3339, UTC, microseconds |
    /// | `feed_unchanged` | the columns of a row that its value leaves out, a JSON array of names; absent if there are none |
    /// | `feed` | the feed's name: records of several feeds can share a topic |
    /// | `feed_position` | [`Position`]'s text, which sorts |
    /// | `feed_epoch` | decimal |
    /// | `feed_tx`, `feed_tx_index` | the id of the database transaction and the place in it, decimal, where the source can tell |
    /// | `feed_tx_count` | on a transaction's last change: the number of its changes that were captured |
    /// | `feed_tx_part` | on the last change of each part but the last of a transaction in parts: 1, 2, 3 … |
    /// | `feed_withheld` | why the data is missing |
    /// | `feed_snapshot`, `feed_baseline`, `feed_replay` | `true` on the one that is the record's [mark](Mark); none of them on a change |
    pub fn visit_headers(&self, visit: &mut dyn FnMut(&'static str, &str)) {
        let mut headers = Headers::to(visit);
        match &self.form {
            Form::CloudEvent(form) => form.write_attributes(&mut headers, self.withheld.is_none()),
            Form::FlatRow(form) => form.write_attributes(&mut headers),
        }
        headers.write(name::FEED, self.feed.as_str());
        headers.show(name::POSITION, &self.position);
        headers.show(name::EPOCH, &self.epoch);
        if let Some(TransactionPlace { id, index, count, part }) = &self.transaction {
            headers.show(name::TX, id);
            headers.show(name::TX_INDEX, index);
            headers.show_some(name::TX_COUNT, count.as_ref());
            headers.show_some(name::TX_PART, part.as_ref());
        }
        if let Some(reason) = &self.withheld {
            headers.write(name::WITHHELD, reason);
        }
        match self.mark {
            Mark::Change => {}
            Mark::Snapshot => headers.write(name::SNAPSHOT, "true"),
            Mark::Baseline => headers.write(name::BASELINE, "true"),
            Mark::Replay => headers.write(name::REPLAY, "true"),
        }
    }

    /// Every header as owned text, for publishers that don't count allocations.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::with_capacity(19);
        self.visit_headers(&mut |name, value| headers.push((name, value.to_owned())));
        headers
    }
}
