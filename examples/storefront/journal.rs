//! The last events that were read back from the broker, for any number of readers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use change_feed::consumer::{Admission, ReceivedEvent};
use change_feed::kafka::Received;
use change_feed::{Epoch, EventId, Position};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::bookmark::Bookmark;

/// The last events that were read back from the broker, in the order in which they came.
///
/// Readers have no queue of their own. Each has a cursor, and one that is so slow that the journal has dropped what it
/// would read next gets [`FellBehind`]: memory has one limit, however slow the readers are.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    held: Mutex<Held>,
    /// How many entries there have been; changes with each one.
    len: watch::Sender<u64>,
    /// Whether anybody has begun to read the topic.
    begun: watch::Sender<bool>,
}

#[derive(Debug)]
struct Held {
    entries: VecDeque<Entry>,
    /// The cursor of the first entry that is held.
    first: u64,
    /// Events before this place were dropped, or never read.
    floor: Bookmark,
    /// Everything before this place has been read, or is before the floor.
    end: Bookmark,
    /// Why nothing is being read at present.
    trouble: Option<String>,
}

/// An event and the place after it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The event.
    pub(crate) event: Arc<HeardEvent>,
    /// Everything up to and including the event.
    pub(crate) bookmark: Bookmark,
}

/// How many events are held. A client that comes back after fewer than that has missed nothing.
pub(crate) const ENTRIES_MAX: usize = 1024;

/// A reader was slower than the journal: what it would read next is no longer held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader is more than {ENTRIES_MAX} events late")]
pub(crate) struct FellBehind;

impl Journal {
    /// Makes an empty journal of a topic that was not read yet.
    pub(crate) fn new() -> Self {
        let nowhere = Bookmark::at_the_beginning_of("0");
        let held = Held { entries: VecDeque::new(), first: 0, floor: nowhere.clone(), end: nowhere, trouble: None };
        Self {
            shared: Arc::new(Shared {
                held: Mutex::new(held),
                len: watch::Sender::new(0),
                begun: watch::Sender::new(false),
            }),
        }
    }

    /// Forgets what is held, and goes on at this place of a topic.
    pub(crate) fn begin_at(&self, place: Bookmark) {
        let mut held = self.held();
        held.first += held.entries.len() as u64;
        held.entries.clear();
        held.floor = place.clone();
        held.end = place;
        drop(held);
        self.shared.begun.send_replace(true);
    }

    /// Waits until somebody has begun to read the topic: before that no place of it means anything.
    pub(crate) async fn begun(&self) {
        // This fails only after the journal was dropped, which `self` rules out.
        let _ = self.shared.begun.subscribe().wait_for(|begun| *begun).await;
    }

    /// Notes why nothing is being read at present, or that reading goes on.
    pub(crate) fn report(&self, trouble: Option<String>) {
        self.held().trouble = trouble;
    }

    /// Why nothing is being read at present.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.held().trouble.clone()
    }

    /// Takes an event.
    pub(crate) fn append(&self, event: HeardEvent) {
        let mut held = self.held();
        held.end.advance(event.event().partition(), event.event().offset() + 1);
        let entry = Entry { event: Arc::new(event), bookmark: held.end.clone() };
        held.entries.push_back(entry);
        if held.entries.len() > ENTRIES_MAX
            && let Some(dropped) = held.entries.pop_front()
        {
            held.first += 1;
            held.floor.advance_to(&dropped.bookmark);
        }
        let len = held.first + held.entries.len() as u64;
        drop(held);
        self.shared.len.send_replace(len);
    }

    /// The cursor of the first of the last `count` events.
    pub(crate) fn recent(&self, count: usize) -> u64 {
        let held = self.held();
        held.first + held.entries.len().saturating_sub(count) as u64
    }

    /// The place before which nothing is held, and the cursor of the first event after it.
    pub(crate) fn floor(&self) -> (Bookmark, u64) {
        let held = self.held();
        (held.floor.clone(), held.first)
    }

    /// A place in the middle of what is held, and the cursor of the first event after it. A client that catches up until
    /// there has some time before the journal drops what comes next.
    pub(crate) fn middle(&self) -> (Bookmark, u64) {
        let held = self.held();
        let half = held.entries.len() / 2;
        let before = half.checked_sub(1).and_then(|place| held.entries.get(place));
        let place = before.map_or_else(|| held.floor.clone(), |entry| entry.bookmark.clone());
        (place, held.first + half as u64)
    }

    /// Waits for the event at this cursor. Dropping the future loses nothing.
    pub(crate) async fn at(&self, cursor: u64) -> Result<Entry, FellBehind> {
        let mut len = self.shared.len.subscribe();
        // This fails only after the journal was dropped, which `self` rules out.
        let _ = len.wait_for(|len| *len > cursor).await;
        let held = self.held();
        let place = cursor.checked_sub(held.first).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| held.entries.get(place)).cloned().ok_or(FellBehind)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // No code panics between two changes that belong together.
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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

    /// Returns the time from the write, by the database's clock, until it was read back, by ours. A difference between the
    /// clocks never makes it negative.
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

#[cfg(test)]
mod tests {
    use change_feed::consumer::{FirstVersion, Record};

    use super::*;

    fn event(offset: u64) -> HeardEvent {
        let record = Record {
            topic: "orders.events".into(),
            partition: 0,
            offset,
            key: Some(b"order-1"),
            headers: vec![
                ("ce_specversion", b"1.0"),
                ("ce_id", b"01985f0f-0000-7000-8000-000000000001"),
                ("ce_type", b"order.created.v1"),
                ("ce_source", b"/storefront"),
                ("ce_subject", b"order-1"),
                ("ce_time", b"2026-11-05T09:30:00.000000Z"),
                ("feed_version", b"1"),
                ("feed", b"storefront"),
                ("feed_position", b"1s-000000000000002a-0000000000000000"),
                ("feed_epoch", b"1"),
            ],
            payload: Some(b"{}"),
        };
        let event = ReceivedEvent::parse(&record).expect("an event");
        HeardEvent::now(Received::new(event, None, FirstVersion::Any))
    }

    fn full(events: u64) -> Journal {
        let journal = Journal::new();
        journal.begin_at(Bookmark::at_the_beginning_of("a"));
        (0..events).for_each(|offset| journal.append(event(offset)));
        journal
    }

    #[tokio::test]
    async fn a_reader_that_keeps_up_gets_every_event() {
        let journal = full(0);
        for offset in 0..3 * ENTRIES_MAX as u64 {
            journal.append(event(offset));
            let entry = journal.at(offset).await.expect("it is held");
            assert_eq!(entry.event.event().offset(), offset);
            assert_eq!(entry.bookmark.to_string(), format!("a-0:{}", offset + 1));
        }
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_and_memory_has_its_bound() {
        let journal = full(ENTRIES_MAX as u64 + 10);
        assert_eq!(journal.at(9).await.map(|_| ()), Err(FellBehind));
        assert!(journal.at(10).await.is_ok());
        let (floor, first) = journal.floor();
        assert_eq!((floor.to_string().as_str(), first), ("a-0:10", 10));
        assert_eq!(journal.recent(3), ENTRIES_MAX as u64 + 7);
        assert_eq!(journal.recent(usize::MAX), 10);
    }

    #[tokio::test]
    async fn the_middle_is_a_place_and_the_event_after_it() {
        for events in [0, 1, 2, 7, 3 * ENTRIES_MAX as u64] {
            let journal = full(events);
            let (place, cursor) = journal.middle();
            assert_eq!(place.next_offset(0), cursor);
            if cursor < events {
                assert_eq!(journal.at(cursor).await.expect("it is held").event.event().offset(), cursor);
            }
        }
    }

    #[tokio::test]
    async fn a_topic_that_was_made_anew_begins_another_journal() {
        let journal = full(5);
        journal.begin_at(Bookmark::at_the_beginning_of("b"));
        assert_eq!(journal.at(4).await.map(|_| ()), Err(FellBehind));
        journal.append(event(0));
        assert_eq!(journal.at(5).await.expect("it is held").bookmark.to_string(), "b-0:1");
    }
}
