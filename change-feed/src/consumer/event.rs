//! An event of a topic.

use std::fmt;
use std::str::{self, FromStr};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::record::{Record, RecordError, RecordProblem};
use crate::feed::change::Mark;
use crate::feed::envelope::header::name;
use crate::feed::event::EventId;
use crate::feed::identity::{Epoch, FeedName};
use crate::feed::position::Position;
use crate::feed::transaction::{TransactionId, TransactionPlace};
use crate::judge::observed::Observed;

/// An event of a topic: a CloudEvent in Kafka's binary mode, with the headers of the feed
/// ([`Envelope::visit_headers`](crate::feed::envelope::Envelope::visit_headers) lists them). Cloning is cheap.
///
/// ```
/// use change_feed::consumer::{ReceivedEvent, Record};
///
/// let record = Record {
///     topic: "orders.events".into(),
///     partition: 3,
///     offset: 17,
///     key: Some(b"order-1"),
///     headers: vec![
///         ("ce_specversion", b"1.0"),
///         ("ce_id", b"01985f0f-0000-7000-8000-000000000001"),
///         ("ce_type", b"order.item_added.v1"),
///         ("ce_source", b"/storefront"),
///         ("ce_subject", b"order-1"),
///         ("ce_time", b"2026-11-05T09:30:00.000000Z"),
///         ("feed_version", b"2"),
///         ("feed", b"orders"),
///         ("feed_position", b"1s-000000000000002a-0000000000000000"),
///         ("feed_epoch", b"1"),
///     ],
///     payload: Some(br#"{"sku":"milk"}"#),
/// };
/// let event = ReceivedEvent::parse(&record)?;
/// assert_eq!((event.key(), event.version()), ("order-1", 2));
///
/// #[derive(serde::Deserialize)]
/// struct ItemAdded { sku: String }
/// assert_eq!(event.json::<ItemAdded>()?.sku, "milk");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedEvent {
    shared: Arc<Fields>,
}

#[derive(Debug, PartialEq)]
struct Fields {
    topic: Arc<str>,
    partition: u32,
    offset: u64,
    key: Box<str>,
    event_id: EventId,
    event_type: Box<str>,
    source: Box<str>,
    occurred_at: DateTime<Utc>,
    traceparent: Option<Box<str>>,
    version: u64,
    feed: FeedName,
    epoch: Epoch,
    position: Position,
    transaction: Option<TransactionPlace>,
    withheld: Option<Box<str>>,
    mark: Mark,
    payload: Bytes,
}

impl ReceivedEvent {
    /// Reads a record. Headers of other names are ignored.
    pub fn parse(record: &Record<'_>) -> Result<Self, RecordError> {
        parse(record).map_err(|problem| RecordError {
            topic: Arc::clone(&record.topic),
            partition: record.partition,
            offset: record.offset,
            problem,
        })
    }

    /// The topic that it was read from.
    pub fn topic(&self) -> &Arc<str> {
        &self.shared.topic
    }

    /// The partition that it was read from.
    pub fn partition(&self) -> u32 {
        self.shared.partition
    }

    /// Its offset in the partition.
    pub fn offset(&self) -> u64 {
        self.shared.offset
    }

    /// The aggregate's id as text.
    pub fn key(&self) -> &str {
        &self.shared.key
    }

    /// The event's id: a duplicate carries the same.
    pub fn event_id(&self) -> EventId {
        self.shared.event_id
    }

    /// The event's type (`order.item_added.v1`).
    pub fn event_type(&self) -> &str {
        &self.shared.event_type
    }

    /// Who produced it: a URI reference.
    pub fn source(&self) -> &str {
        &self.shared.source
    }

    /// The time of the event by the clock of the writer's database.
    pub fn occurred_at(&self) -> DateTime<Utc> {
        self.shared.occurred_at
    }

    /// The writer's W3C trace context, where there was one.
    pub fn traceparent(&self) -> Option<&str> {
        self.shared.traceparent.as_deref()
    }

    /// The version of the aggregate that this event closed: 1, 2, 3 …
    pub fn version(&self) -> u64 {
        self.shared.version
    }

    /// The position of the change in the feed's source.
    pub fn position(&self) -> &Position {
        &self.shared.position
    }

    /// The feed that published it: one topic may hold the records of several.
    pub fn feed(&self) -> &FeedName {
        &self.shared.feed
    }

    /// The feed's epoch: (epoch, version) orders the events of a key.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// Its place in its database transaction, where the record has it.
    pub fn transaction(&self) -> Option<&TransactionPlace> {
        self.shared.transaction.as_ref()
    }

    /// Why the data is missing, if this is a stub.
    pub fn withheld_reason(&self) -> Option<&str> {
        self.shared.withheld.as_deref()
    }

    /// Whether it is a change, or something else that is published beside those.
    pub fn mark(&self) -> Mark {
        self.shared.mark
    }

    /// Whether it was published again on an operator's order.
    pub fn is_replay(&self) -> bool {
        self.shared.mark == Mark::Replay
    }

    /// Whether it is the state of its key at the beginning of an epoch rather than a change.
    pub fn is_baseline(&self) -> bool {
        self.shared.mark == Mark::Baseline
    }

    /// The payload as it was published; empty in a stub.
    pub fn payload(&self) -> &Bytes {
        &self.shared.payload
    }

    /// The payload as a value of the consumer's own.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        if let Some(reason) = &self.shared.withheld {
            return Err(PayloadError::Withheld { event_id: self.shared.event_id, reason: reason.to_string() });
        }
        serde_json::from_slice(&self.shared.payload).map_err(|error| PayloadError::Unfit {
            event_id: self.shared.event_id,
            event_type: self.shared.event_type.to_string(),
            line: error.line(),
            column: error.column(),
        })
    }

    /// The event as the judge observes it.
    pub fn observed(&self) -> Observed<'_> {
        Observed {
            partition: self.shared.partition,
            offset: self.shared.offset,
            key: &self.shared.key,
            version: self.shared.version,
            event_id: self.shared.event_id,
            feed: &self.shared.feed,
            epoch: self.shared.epoch,
            position: &self.shared.position,
            transaction: self.shared.transaction.as_ref(),
            withheld: self.shared.withheld.is_some(),
            mark: self.shared.mark,
        }
    }
}

/// Why a payload can't be read as the consumer's type. It holds nothing of the payload, and so it has no source: a JSON
/// error quotes the value that it did not expect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The feed could not publish the data; it is still in the outbox.
    #[error("the data of event {event_id} is withheld: {reason}")]
    Withheld {
        /// The event.
        event_id: EventId,
        /// The feed's reason.
        reason: String,
    },
    /// The payload is not JSON, or not of the wanted shape.
    #[error("the payload of event {event_id} of type {event_type} doesn't fit at line {line}, column {column}")]
    Unfit {
        /// The event.
        event_id: EventId,
        /// Its type.
        event_type: String,
        /// The line of the payload, from 1.
        line: usize,
        /// The column in it, from 1; 0 before the first.
        column: usize,
    },
}

fn parse(record: &Record<'_>) -> Result<ReceivedEvent, RecordProblem> {
    let headers = Headers(&record.headers);
    let key = record.key.and_then(|key| str::from_utf8(key).ok()).ok_or(RecordProblem::Key)?;
    // A stub has a payload of zero length.
    let payload = record.payload.ok_or(RecordProblem::Tombstone)?;
    headers.must_be(&SPEC_VERSION, "1.0")?;
    headers.must_be(&SUBJECT, key)?;
    let withheld = headers.text(&WITHHELD)?;
    let fields = Fields {
        topic: Arc::clone(&record.topic),
        partition: record.partition,
        offset: record.offset,
        key: Box::from(key),
        event_id: EventId::new(headers.required::<Uuid>(&ID)?),
        event_type: Box::from(headers.required_text(&TYPE)?),
        source: Box::from(headers.required_text(&SOURCE)?),
        occurred_at: headers.required(&TIME)?,
        traceparent: headers.text(&TRACEPARENT)?.map(Box::from),
        version: headers.required(&VERSION)?,
        feed: headers.required(&FEED)?,
        position: headers.required(&POSITION)?,
        epoch: Epoch::new(headers.required(&EPOCH)?),
        transaction: transaction(&headers)?,
        withheld: withheld.map(Box::from),
        mark: mark(&headers)?,
        payload: Bytes::copy_from_slice(payload),
    };
    Ok(ReceivedEvent { shared: Arc::new(fields) })
}

fn mark(headers: &Headers<'_>) -> Result<Mark, RecordProblem> {
    let marks = [(&SNAPSHOT, Mark::Snapshot), (&BASELINE, Mark::Baseline), (&REPLAY, Mark::Replay)];
    let mut found = Mark::Change;
    for (header, mark) in marks {
        if headers.flag(header)? {
            found = mark;
        }
    }
    Ok(found)
}

fn transaction(headers: &Headers<'_>) -> Result<Option<TransactionPlace>, RecordProblem> {
    let id = headers.text(&TX)?.map(TransactionId::from);
    let index = headers.parsed(&TX_INDEX)?;
    let count = headers.parsed(&TX_COUNT)?;
    let part = headers.parsed(&TX_PART)?;
    match (id, index) {
        (Some(id), Some(index)) => Ok(Some(TransactionPlace { count, part, ..TransactionPlace::new(id, index) })),
        (None, None) if count.is_none() && part.is_none() => Ok(None),
        (None, _) => Err(RecordProblem::Missing(TX.name)),
        (Some(_), None) => Err(RecordProblem::Missing(TX_INDEX.name)),
    }
}

/// A header and what its value should be.
struct Header {
    name: &'static str,
    expected: &'static str,
}

const fn header(name: &'static str, expected: &'static str) -> Header {
    Header { name, expected }
}

const SPEC_VERSION: Header = header(name::CE_SPECVERSION, "1.0");
const ID: Header = header(name::CE_ID, "a UUID");
const TYPE: Header = header(name::CE_TYPE, "text");
const SOURCE: Header = header(name::CE_SOURCE, "text");
const SUBJECT: Header = header(name::CE_SUBJECT, "the key");
const TIME: Header = header(name::CE_TIME, "a time as in RFC 3339");
const TRACEPARENT: Header = header(name::TRACEPARENT, "text");
const VERSION: Header = header(name::VERSION, "a decimal number");
const FEED: Header = header(name::FEED, "the name of a feed");
const POSITION: Header = header(name::POSITION, "a position that this version of change-feed can read");
const EPOCH: Header = header(name::EPOCH, "a decimal number");
const TX: Header = header(name::TX, "text");
const TX_INDEX: Header = header(name::TX_INDEX, "a decimal number");
const TX_COUNT: Header = header(name::TX_COUNT, "a decimal number");
const TX_PART: Header = header(name::TX_PART, "a decimal number");
const WITHHELD: Header = header(name::WITHHELD, "text");
const SNAPSHOT: Header = header(name::SNAPSHOT, "true");
const REPLAY: Header = header(name::REPLAY, "true");
const BASELINE: Header = header(name::BASELINE, "true");

impl Header {
    fn malformed(&self) -> RecordProblem {
        RecordProblem::Malformed { header: self.name, expected: self.expected }
    }
}

struct Headers<'a>(&'a [(&'a str, &'a [u8])]);

impl<'a> Headers<'a> {
    fn text(&self, header: &Header) -> Result<Option<&'a str>, RecordProblem> {
        let mut values = self.0.iter().filter(|(name, _)| *name == header.name);
        let Some((_, value)) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(RecordProblem::Repeated(header.name));
        }
        str::from_utf8(value).map(Some).map_err(|_| header.malformed())
    }

    fn required_text(&self, header: &Header) -> Result<&'a str, RecordProblem> {
        self.text(header)?.ok_or(RecordProblem::Missing(header.name))
    }

    fn parsed<T: FromStr>(&self, header: &Header) -> Result<Option<T>, RecordProblem> {
        let text = self.text(header)?;
        text.map(|text| text.parse().map_err(|_| header.malformed())).transpose()
    }

    fn required<T: FromStr>(&self, header: &Header) -> Result<T, RecordProblem> {
        self.parsed(header)?.ok_or(RecordProblem::Missing(header.name))
    }

    fn must_be(&self, header: &Header, value: &str) -> Result<(), RecordProblem> {
        (self.required_text(header)? == value).then_some(()).ok_or(header.malformed())
    }

    fn flag(&self, header: &Header) -> Result<bool, RecordProblem> {
        match self.text(header)? {
            None => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(header.malformed()),
        }
    }
}

impl fmt::Display for ReceivedEvent {
    /// Writes its type, key, version and place, without the payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields { key, version, event_type, partition, offset, .. } = &*self.shared;
        write!(f, "{event_type} {key} v{version} at {partition}/{offset}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::envelope::Envelope;
    use crate::feed::identity::FeedIdentity;
    use crate::feed::identity::tests::identity;
    use crate::feed::router::Router;
    use crate::memory::database::MemoryDatabase;
    use crate::memory::event::MemoryEvent;
    use proptest::prelude::*;

    fn envelope() -> Envelope {
        let database = MemoryDatabase::new();
        database.commit([MemoryEvent::new("order-1").payload(r#"{"sku":"milk","quantity":2}"#)]);
        let feed = FeedIdentity { epoch: Epoch::new(3), ..identity() };
        Router::to_topic("orders.events").route(database.changes().remove(0), &feed).expect("a topic for events")
    }

    /// The record that an envelope becomes, after some damage to its headers.
    fn parsed_after(
        envelope: &Envelope,
        damage: impl FnOnce(&mut Vec<(String, Vec<u8>)>),
    ) -> Result<ReceivedEvent, RecordProblem> {
        let mut headers =
            envelope.headers().into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
        damage(&mut headers);
        let payload = envelope.payload();
        let record = Record {
            topic: Arc::clone(envelope.topic()),
            partition: 1,
            offset: 7,
            key: Some(envelope.key().as_bytes()),
            headers: headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
            payload: Some(&payload),
        };
        ReceivedEvent::parse(&record).map_err(|error| {
            assert_eq!((&*error.topic, error.partition, error.offset), ("orders.events", 1, 7));
            error.problem
        })
    }

    fn parsed(envelope: &Envelope) -> ReceivedEvent {
        parsed_after(envelope, |_| ()).expect("an event")
    }

    #[test]
    fn an_event_arrives_as_it_was_published() {
        let envelope = envelope();
        let event = parsed(&envelope);
        assert_eq!(event.key(), "order-1");
        assert_eq!(Some(event.event_id()), envelope.event_id());
        assert_eq!(Some(event.event_type()), envelope.event_type());
        assert_eq!(Some(event.version()), envelope.version());
        assert_eq!(event.position(), envelope.position());
        assert_eq!((event.feed(), event.epoch()), (&identity().feed, Epoch::new(3)));
        assert_eq!(event.transaction(), envelope.transaction());
        assert_eq!(*event.payload(), envelope.payload());
        assert_eq!(
            Some(event.occurred_at().timestamp_micros()),
            envelope.occurred_at().map(|at| at.timestamp_micros())
        );
        assert_eq!(event.source(), "/change-feed");
        assert_eq!(Some(event.observed()), Observed::envelope(1, 7, &envelope));
        assert_eq!(event.to_string(), "memory.changed.v1 order-1 v1 at 1/7");
    }

    #[test]
    fn marks_arrive() {
        for mark in [Mark::Change, Mark::Snapshot, Mark::Baseline, Mark::Replay] {
            assert_eq!(parsed(&envelope().marked(mark)).mark(), mark);
        }
        let stub = parsed(&envelope().withheld("too large"));
        assert_eq!(stub.withheld_reason(), Some("too large"));
        assert!(stub.payload().is_empty());
    }

    #[test]
    fn a_payload_becomes_the_consumers_own_type() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Item {
            sku: String,
            quantity: u32,
        }
        let event = parsed(&envelope());
        assert_eq!(event.json::<Item>(), Ok(Item { sku: "milk".to_owned(), quantity: 2 }));
    }

    #[test]
    fn a_payload_error_names_the_event_and_nothing_of_the_payload() {
        let event = parsed(&envelope());
        let error = event.json::<Vec<u32>>().expect_err("an object is no list");
        assert!(matches!(error, PayloadError::Unfit { line: 1, .. }), "{error:?}");
        let error = event.json::<std::collections::BTreeMap<String, u32>>().expect_err("milk is no number");
        assert!(!format!("{error} {error:?}").contains("milk"));
        let stub = parsed(&envelope().withheld("too large"));
        assert!(matches!(stub.json::<u32>(), Err(PayloadError::Withheld { .. })));
    }

    #[test]
    fn each_header_that_every_event_has_is_missed_by_its_name() {
        for (name, _) in envelope().headers() {
            let without = parsed_after(&envelope(), |headers| headers.retain(|(header, _)| header != name));
            match name {
                "content-type" | "feed_tx_count" => assert!(without.is_ok(), "{name}"),
                _ => assert_eq!(without, Err(RecordProblem::Missing(name))),
            }
        }
    }

    #[test]
    fn a_header_that_is_there_twice_or_unreadable_is_refused_by_its_name() {
        for (name, value) in envelope().headers() {
            if matches!(name, "content-type") {
                continue;
            }
            let twice = parsed_after(&envelope(), |headers| headers.push((name.to_owned(), value.into_bytes())));
            assert_eq!(twice, Err(RecordProblem::Repeated(name)));
            let spoilt = parsed_after(&envelope(), |headers| {
                headers.iter_mut().filter(|(header, _)| header == name).for_each(|(_, value)| *value = vec![0xff]);
            });
            assert!(matches!(spoilt, Err(RecordProblem::Malformed { header, .. }) if header == name), "{name}");
        }
    }

    #[test]
    fn a_key_that_is_not_the_subject_is_refused() {
        let other = parsed_after(&envelope(), |headers| {
            headers.iter_mut().filter(|(name, _)| name == "ce_subject").for_each(|(_, value)| value.push(b'x'));
        });
        assert!(matches!(other, Err(RecordProblem::Malformed { header: "ce_subject", .. })));
    }

    #[test]
    fn a_tombstone_and_a_record_without_a_key_are_refused() {
        let headers = envelope().headers();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let record =
            Record { topic: "t".into(), partition: 0, offset: 0, key: Some(b"order-1"), headers, payload: None };
        assert_eq!(ReceivedEvent::parse(&record).map_err(|e| e.problem), Err(RecordProblem::Tombstone));
        let keyless = Record { key: None, ..record };
        assert_eq!(ReceivedEvent::parse(&keyless).map_err(|e| e.problem), Err(RecordProblem::Key));
    }

    proptest! {
        #[test]
        fn any_record_is_read_or_refused_without_a_panic(
            headers in proptest::collection::vec(("ce_[a-z]{2,6}|feed_[a-z_]{2,9}", any::<Vec<u8>>()), 0..20),
            key in any::<Option<Vec<u8>>>(),
            payload in any::<Option<Vec<u8>>>(),
        ) {
            let record = Record {
                topic: "t".into(),
                partition: 0,
                offset: 0,
                key: key.as_deref(),
                headers: headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
                payload: payload.as_deref(),
            };
            let _ = ReceivedEvent::parse(&record);
        }
    }
}
