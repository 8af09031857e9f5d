//! What should have been published.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use crate::feed::event::EventId;
use crate::feed::transaction::TransactionId;

/// What should have been published: the rows of an outbox, in any order.
///
/// A key's history begins at its first row. Records of earlier versions are taken as pruned from
/// the outbox and are judged among themselves only.
///
/// ```
/// use change_feed::EventId;
/// use change_feed::judge::{Expected, History};
///
/// let event_id = EventId::new(uuid::Uuid::now_v7());
/// let mut history = History::new();
/// history.add(Expected { key: "order-1", version: 1, event_id, transaction: Some(731.into()) });
/// assert_eq!(history.len(), 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct History {
    keys: HashMap<Arc<str>, u32>,
    transactions: HashMap<TransactionId, u32>,
    rows: Vec<Row>,
}

/// An event that should have been published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected<'a> {
    /// The aggregate's id as text.
    pub key: &'a str,
    /// The version of the aggregate that the event closed.
    pub version: u64,
    /// The event's id.
    pub event_id: EventId,
    /// The database transaction that appended it, where that is known: any id that tells
    /// transactions apart. It need not be the one in the records.
    pub transaction: Option<TransactionId>,
}

#[derive(Debug, Clone)]
struct Row {
    key: u32,
    event: Event,
}

/// An event of the history and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) version: u64,
    pub(super) id: EventId,
    transaction: u32,
    pub(super) fate: Fate,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// No record of it so far.
    Absent,
    /// A record that carries its version has another event id.
    Displaced,
    /// It was published.
    Seen,
}

/// [`Event::transaction`] of an event whose transaction is not known.
const NO_TRANSACTION: u32 = u32::MAX;

impl History {
    /// A history without events.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event.
    pub fn add(&mut self, expected: Expected<'_>) {
        let next = self.keys.len() as u32;
        let key = match self.keys.get(expected.key) {
            Some(&key) => key,
            None => *self.keys.entry(Arc::from(expected.key)).or_insert(next),
        };
        let next = self.transactions.len() as u32;
        let transaction = expected.transaction.map_or(NO_TRANSACTION, |id| match self.transactions.entry(id) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(next),
        });
        let event = Event { version: expected.version, id: expected.event_id, transaction, fate: Fate::Absent };
        self.rows.push(Row { key, event });
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Sorts the history for looking up.
    pub(super) fn index(mut self) -> Index {
        self.rows.sort_unstable_by_key(|row| (row.key, row.event.version));
        let mut names = vec![Arc::from(""); self.keys.len()];
        for (name, &key) in &self.keys {
            names[key as usize] = Arc::clone(name);
        }
        let mut spans = vec![0..0; names.len()];
        let mut transactions = vec![Publication::default(); self.transactions.len()];
        let mut events = Vec::with_capacity(self.rows.len());
        for (at, Row { key, event }) in self.rows.into_iter().enumerate() {
            let span: &mut Range<usize> = &mut spans[key as usize];
            if span.start == span.end {
                span.start = at;
            }
            span.end = at + 1;
            if let Some(publication) = transactions.get_mut(event.transaction as usize) {
                publication.events += 1;
            }
            events.push(event);
        }
        let is_pruned = spans.iter().any(|span| events[span.start].version > 1);
        Index { is_pruned, keys: self.keys, names, spans, events, transactions }
    }
}

impl<'a> Extend<Expected<'a>> for History {
    fn extend<I: IntoIterator<Item = Expected<'a>>>(&mut self, events: I) {
        events.into_iter().for_each(|event| self.add(event));
    }
}

impl<'a> FromIterator<Expected<'a>> for History {
    fn from_iter<I: IntoIterator<Item = Expected<'a>>>(events: I) -> Self {
        let mut history = Self::new();
        history.extend(events);
        history
    }
}

/// The history by key and version.
#[derive(Debug)]
pub(super) struct Index {
    keys: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
    spans: Vec<Range<usize>>,
    pub(super) events: Vec<Event>,
    transactions: Vec<Publication>,
    /// Whether some key's history begins after version 1.
    pub(super) is_pruned: bool,
}

/// How much of a transaction of the history was published.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Publication {
    pub(super) events: u32,
    pub(super) seen: u32,
}

/// Where a version stands to the history of its key.
pub(super) enum Lookup {
    /// At this index.
    Event(usize),
    /// Before its first event, which is not version 1: pruned from the outbox.
    Pruned,
    /// Nowhere.
    Unknown,
}

impl Index {
    pub(super) fn key_count(&self) -> usize {
        self.names.len()
    }

    pub(super) fn key(&self, name: &str) -> Option<usize> {
        self.keys.get(name).map(|&key| key as usize)
    }

    pub(super) fn name(&self, key: usize) -> &str {
        &self.names[key]
    }

    pub(super) fn span(&self, key: usize) -> Range<usize> {
        self.spans[key].clone()
    }

    pub(super) fn first_version(&self, key: usize) -> u64 {
        self.events[self.spans[key].start].version
    }

    pub(super) fn look_up(&self, key: usize, version: u64) -> Lookup {
        let span = self.span(key);
        let first = self.first_version(key);
        if version < first {
            return if version == 0 { Lookup::Unknown } else { Lookup::Pruned };
        }
        // A history without holes, which is every one that the guard keeps, needs no search.
        let guess = usize::try_from(version - first).ok().and_then(|ahead| span.start.checked_add(ahead));
        if let Some(guess) = guess
            && guess < span.end
            && self.events[guess].version == version
            && (guess == span.start || self.events[guess - 1].version < version)
        {
            return Lookup::Event(guess);
        }
        let found = self.events[span.clone()].partition_point(|event| event.version < version) + span.start;
        match self.events.get(found) {
            Some(event) if found < span.end && event.version == version => Lookup::Event(found),
            _ => Lookup::Unknown,
        }
    }

    /// How much of the event's transaction was published, where the history knows its transaction.
    pub(super) fn publication(&self, event: usize) -> Option<Publication> {
        self.transactions.get(self.events[event].transaction as usize).copied()
    }

    /// False if the history knows that two events are of different transactions.
    pub(super) fn may_be_of_one_transaction(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.events[one].transaction, self.events[other].transaction);
        one == other || one == NO_TRANSACTION || other == NO_TRANSACTION
    }

    /// Notes that an event was published.
    pub(super) fn see(&mut self, event: usize) {
        let event = &mut self.events[event];
        event.fate = Fate::Seen;
        if let Some(publication) = self.transactions.get_mut(event.transaction as usize) {
            publication.seen += 1;
        }
    }
}
