//! Drives a publisher as a relay does, and looks at what a reader sees.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, TimeZone as _, Utc};
use uuid::Uuid;

use super::harness::{Destination, PublisherHarness, SeenRecord};
use crate::conformance::rule::{Fault, broken};
use crate::feed::change::Change;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::envelope::Envelope;
use crate::feed::event::{EventId, EventRecord};
use crate::feed::identity::{Epoch, FeedIdentity, FeedName, PublisherIdentity, SourceIdentity};
use crate::feed::part::{End, Part};
use crate::feed::position::Position;
use crate::feed::router::Router;
use crate::feed::row::{Cell, Row};
use crate::feed::row_change::{BeforeImage, RowChange};
use crate::feed::table::{Column, Table};
use crate::publisher::{KeptPosition, Resume};
use crate::publisher::{PublishError, Publisher};

/// A destination and the feed that publishes to it.
pub(super) struct Driver {
    destination: Arc<dyn Destination>,
    feed: FeedName,
    source: SourceIdentity,
    topics: [Arc<str>; 1],
    limits: Limits,
    /// What the source would have been told.
    acknowledged: Mutex<Option<Checkpoint>>,
    sequence: AtomicU64,
    versions: Mutex<HashMap<String, u64>>,
}

#[derive(Clone, Copy)]
struct Limits {
    call: Duration,
    visible: Duration,
}

/// The pause between two looks at what a reader sees.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How long a resume is tried again.
const RESUME_LIMIT: Duration = Duration::from_secs(10);

/// A publisher that was resumed.
pub(super) struct Resumed {
    pub(super) publisher: Box<dyn Publisher>,
    pub(super) identity: FeedIdentity,
    pub(super) position: KeptPosition,
}

/// What was published, with its end.
pub(super) struct Batch {
    pub(super) envelopes: Vec<Envelope>,
    pub(super) end: End,
}

impl Driver {
    pub(super) async fn open(harness: &dyn PublisherHarness) -> Result<Self, Fault> {
        let destination = Arc::from(harness.destination().await?);
        let capabilities = harness.capabilities();
        let limits = Limits { call: capabilities.call_limit, visible: capabilities.visible_within };
        Ok(Self::new(destination, limits))
    }

    fn new(destination: Arc<dyn Destination>, limits: Limits) -> Self {
        let unique = Uuid::now_v7();
        Self {
            topics: [destination.topic()],
            destination,
            feed: feed_name(unique),
            source: SourceIdentity::new("conformance", unique.to_string(), "events"),
            limits,
            acknowledged: Mutex::new(None),
            sequence: AtomicU64::new(0),
            versions: Mutex::default(),
        }
    }

    /// Another feed, of another database, to the same destination.
    pub(super) fn other_feed(&self) -> Self {
        Self::new(Arc::clone(&self.destination), self.limits)
    }

    pub(super) fn destination(&self) -> &dyn Destination {
        &*self.destination
    }

    /// A new publisher, resumed.
    pub(super) async fn resumed(&self) -> Result<Resumed, Fault> {
        let publisher = self.publisher().await?;
        self.resume(publisher).await
    }

    pub(super) async fn publisher(&self) -> Result<Box<dyn Publisher>, Fault> {
        Ok(self.destination.publisher(&self.feed).await?)
    }

    /// Resumes a publisher as the relay of this feed, which tries again while the destination is
    /// away or still held by another.
    pub(super) async fn resume(&self, publisher: Box<dyn Publisher>) -> Result<Resumed, Fault> {
        let deadline = Instant::now() + RESUME_LIMIT;
        loop {
            match self.try_resume(&*publisher, &self.source).await? {
                Ok((identity, position)) => return Ok(Resumed { publisher, identity, position }),
                Err(PublishError::Transient(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                Err(error) => return Err(unexpected("resume", error)),
            }
        }
    }

    /// Resumes a publisher as the relay of this feed, and gives an error to the caller.
    pub(super) async fn try_resume_own(
        &self,
        publisher: &dyn Publisher,
    ) -> Result<Result<(FeedIdentity, KeptPosition), PublishError>, Fault> {
        self.try_resume(publisher, &self.source).await
    }

    /// Resumes a publisher as the relay of this feed at this source.
    pub(super) async fn try_resume(
        &self,
        publisher: &dyn Publisher,
        source: &SourceIdentity,
    ) -> Result<Result<(FeedIdentity, KeptPosition), PublishError>, Fault> {
        let acknowledged = self.acknowledged();
        let request = Resume::new(&self.feed, source, acknowledged.as_ref(), &self.topics);
        let answer = self.in_time("resume", publisher.resume(&request)).await?;
        Ok(answer.map(|resumed| {
            let identity = FeedIdentity::new(self.feed.clone(), Epoch::FIRST, source.clone(), resumed.identity);
            self.enrol(&identity, &resumed.position);
            (identity, resumed.position)
        }))
    }

    /// A relay tells its source of the feed before it publishes anything.
    fn enrol(&self, identity: &FeedIdentity, position: &KeptPosition) {
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        if acknowledged.is_none() {
            let position = match position {
                KeptPosition::At(kept) => kept.position.clone(),
                _ => Position::ORIGIN,
            };
            *acknowledged = Some(Checkpoint::new(identity.clone(), position));
        }
    }

    /// The same source of another database.
    pub(super) fn foreign_source(&self) -> SourceIdentity {
        SourceIdentity::new(&self.source.kind, Uuid::now_v7().to_string(), &self.source.captures)
    }

    /// Publishes a batch that must succeed.
    pub(super) async fn publish(&self, to: &Resumed, batch: &Batch) -> Result<(), Fault> {
        self.try_publish(to, batch).await?.map_err(|error| unexpected("publish", error))
    }

    pub(super) async fn try_publish(&self, to: &Resumed, batch: &Batch) -> Result<Result<(), PublishError>, Fault> {
        let answer = self.in_time("publish", self.publishing(to, batch)).await?;
        if answer.is_ok() {
            self.acknowledge(to, batch);
        }
        Ok(answer)
    }

    /// Notes what the source would have been told after a batch.
    pub(super) fn acknowledge(&self, to: &Resumed, batch: &Batch) {
        if let End::Complete(position) = &batch.end {
            let checkpoint = Checkpoint::new(to.identity.clone(), position.clone());
            *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint);
        }
    }

    /// The call alone, for those who drop it.
    pub(super) async fn publishing(&self, to: &Resumed, batch: &Batch) -> Result<(), PublishError> {
        to.publisher.publish(&Part::new(&to.identity, &batch.envelopes, &batch.end)).await
    }

    pub(super) fn acknowledged(&self) -> Option<Checkpoint> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a reader sees now.
    pub(super) async fn records(&self) -> Result<Vec<SeenRecord>, Fault> {
        Ok(self.destination.records().await?)
    }

    /// What a reader sees once it sees all of these, or has had the time for it: what is durable
    /// need not be visible in the same moment.
    pub(super) async fn records_with(&self, envelopes: &[Envelope]) -> Result<Vec<SeenRecord>, Fault> {
        let deadline = Instant::now() + self.limits.visible;
        loop {
            let records = self.records().await?;
            let missing = envelopes.iter().any(|envelope| times(&records, envelope) == 0);
            if !missing || Instant::now() >= deadline {
                return Ok(records);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// One event of each key, each the next version of its key.
    pub(super) fn envelopes<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Vec<Envelope> {
        keys.into_iter().map(|key| self.envelope(key, Bytes::from_static(br#"{"sku":"milk"}"#))).collect()
    }

    /// The next event of this key.
    pub(super) fn envelope(&self, key: &str, payload: Bytes) -> Envelope {
        self.routed(self.change(key, payload))
    }

    pub(super) fn routed(&self, change: Change) -> Envelope {
        let router = Router::to_topic(Arc::clone(&self.topics[0])).source("/conformance");
        router.route(change, &self.identity()).expect("the driver makes events, and there is a topic for them")
    }

    /// A change that is the next event of this key.
    pub(super) fn change(&self, key: &str, payload: Bytes) -> Change {
        let version = {
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            let version = versions.entry(key.to_owned()).or_default();
            *version += 1;
            *version
        };
        let (id, at) = (EventId::new(Uuid::now_v7()), occurred_at());
        let record = EventRecord::new("events".into(), id, key.into(), version, "test.v1".into(), payload, at);
        Change::event(self.next_position(), record)
    }

    /// The next change of the row of this key: what it is now, or that it is gone.
    pub(super) fn row(&self, key: &str, note: Option<&str>) -> Result<Envelope, Fault> {
        const TEXT: u32 = 25;
        let columns = [Column::key("id", TEXT), Column::new("note", TEXT)];
        let table = Arc::new(Table::new("public", "notes", columns));
        let row = Row::from_cells([Cell::Text(key), note.map_or(Cell::Null, Cell::Text)]);
        let row = row.map_err(|error| Fault::Harness(error.into()))?;
        let change = match note {
            Some(_) => RowChange::update(table, None, row, occurred_at()),
            None => RowChange::delete(table, BeforeImage::Key(row), occurred_at()),
        };
        Ok(Envelope::flat_row(Arc::clone(&self.topics[0]), change, self.next_position(), &self.identity()))
    }

    /// The identity that envelopes are made with.
    fn identity(&self) -> FeedIdentity {
        let publisher = PublisherIdentity::new("conformance", "");
        FeedIdentity::new(self.feed.clone(), Epoch::FIRST, self.source.clone(), publisher)
    }

    fn next_position(&self) -> Position {
        Position::new('c', self.sequence.fetch_add(1, Ordering::Relaxed) + 1, 0)
    }

    /// The place of everything that was made so far.
    pub(super) fn position(&self) -> Position {
        Position::new('c', self.sequence.load(Ordering::Relaxed), 0)
    }

    /// One event of each key, complete.
    pub(super) fn complete<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Batch {
        self.completed(self.envelopes(keys))
    }

    pub(super) fn completed(&self, envelopes: Vec<Envelope>) -> Batch {
        Batch { envelopes, end: End::Complete(self.position()) }
    }

    /// One event of each key, with more to follow.
    pub(super) fn continued<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Batch {
        Batch { envelopes: self.envelopes(keys), end: End::Continues }
    }

    /// A complete batch without envelopes, further on.
    pub(super) fn empty(&self) -> Batch {
        Batch { envelopes: Vec::new(), end: End::Complete(self.next_position()) }
    }

    async fn in_time<T>(&self, call: &str, future: impl Future<Output = T>) -> Result<T, Fault> {
        match tokio::time::timeout(self.limits.call, future).await {
            Ok(answer) => Ok(answer),
            Err(_) => broken(format!("{call} did not answer within {:?}", self.limits.call)),
        }
    }
}

fn occurred_at() -> DateTime<Utc> {
    Utc.timestamp_opt(1_793_000_000, 123_456_000).single().unwrap_or_default()
}

/// What an error means to a rule that expects none.
pub(super) fn unexpected(call: &str, error: PublishError) -> Fault {
    let what = format!("{call} failed: {}", chain(&error));
    match error {
        PublishError::Transient(_) => Fault::Disturbed(what),
        _ => Fault::Broken(what),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

fn feed_name(unique: Uuid) -> FeedName {
    let name = format!("conformance_{}", unique.simple());
    FeedName::new(name).unwrap_or_else(|_| unreachable!("44 lower-case letters, digits and underscores"))
}

impl SeenRecord {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_slice())
    }

    /// Whether this is the record of an envelope.
    pub(super) fn is_of(&self, envelope: &Envelope) -> bool {
        let (name, id) = match envelope.event_id() {
            Some(id) => ("ce_id", id.to_string()),
            // A row has no id of its own: its place tells it.
            None => ("feed_position", envelope.position().to_string()),
        };
        self.header(name) == Some(id.as_bytes())
    }
}

/// How often an envelope is there.
pub(super) fn times(records: &[SeenRecord], envelope: &Envelope) -> usize {
    records.iter().filter(|record| record.is_of(envelope)).count()
}

/// What tells an envelope in a report.
pub(super) fn named(envelope: &Envelope) -> String {
    match envelope.version() {
        Some(version) => format!("the event of key {:?}, version {version}", envelope.key()),
        None => format!("the row of key {:?} at {}", envelope.key(), envelope.position()),
    }
}
