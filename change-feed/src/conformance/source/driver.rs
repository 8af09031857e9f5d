//! Writes to a database and drives a source as a relay does.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeZone as _, Utc};
use uuid::Uuid;

use super::harness::{Database, NewEvent, SourceHarness, Writer};
use crate::conformance::rule::{Fault, broken};
use crate::feed::change::{Change, Content};
use crate::feed::checkpoint::Checkpoint;
use crate::feed::event::EventId;
use crate::feed::identity::{Epoch, FeedIdentity, FeedName, PublisherIdentity};
use crate::feed::part::Changes;
use crate::feed::position::Position;
use crate::source::{Elected, Lag, Source, SourceError, Start};

/// A database, its writers, and a feed of it.
pub(super) struct Driver {
    database: Box<dyn Database>,
    feed: FeedName,
    call_limit: Duration,
    given_within: Duration,
    keys: Vec<String>,
    versions: HashMap<usize, u64>,
    /// What was committed, transaction by transaction, in the order of the commits.
    pub(super) committed: Vec<Vec<NewEvent>>,
}

/// An open transaction and what it appended.
pub(super) struct Open {
    writer: Box<dyn Writer>,
    events: Vec<NewEvent>,
}

/// What a source gave, run by run.
#[derive(Default)]
pub(super) struct Given {
    runs: Vec<Changes>,
    times: HashMap<EventId, usize>,
}

/// The number of keys that the suite writes to.
const KEYS: usize = 7;
/// The longest wait for a run that need not come.
const IDLE_LOOK: Duration = Duration::from_millis(150);

impl Driver {
    pub(super) async fn open(harness: &dyn SourceHarness) -> Result<Self, Fault> {
        let capabilities = harness.capabilities();
        Ok(Self {
            database: harness.database().await?,
            feed: new_feed(),
            call_limit: capabilities.call_limit,
            given_within: capabilities.given_within,
            keys: (0..KEYS).map(|_| Uuid::now_v7().to_string()).collect(),
            versions: HashMap::new(),
            committed: Vec::new(),
        })
    }

    /// A source as another process would have it.
    pub(super) async fn source(&self) -> Result<Box<dyn Source>, Fault> {
        self.source_of(&self.feed).await
    }

    pub(super) async fn source_of(&self, feed: &FeedName) -> Result<Box<dyn Source>, Fault> {
        Ok(self.database.source(feed).await?)
    }

    /// A source that is elected and started.
    pub(super) async fn started(&self, after: &Position) -> Result<Box<dyn Source>, Fault> {
        let source = self.source().await?;
        self.elect(&*source).await?;
        self.start(&*source, after).await?;
        Ok(source)
    }

    pub(super) async fn elect(&self, source: &dyn Source) -> Result<Elected, Fault> {
        let elected = self.in_time("elect", source.elect()).await?;
        elected.map_err(|error| unexpected("elect", error))
    }

    pub(super) async fn start(&self, source: &dyn Source, after: &Position) -> Result<(), Fault> {
        let started = self.try_start(source, after).await?;
        started.map_err(|error| unexpected(format_args!("start at {after}"), error))
    }

    pub(super) async fn try_start(
        &self,
        source: &dyn Source,
        after: &Position,
    ) -> Result<Result<(), SourceError>, Fault> {
        self.in_time("start", source.start(&Start::after(after, Epoch::FIRST))).await
    }

    /// Starts in the epoch of a rejoin.
    pub(super) async fn start_with_baseline(
        &self,
        source: &dyn Source,
        after: &Position,
        epoch: Epoch,
    ) -> Result<(), Fault> {
        let start = Start::after(after, epoch).with_baseline();
        let started = self.in_time("start", source.start(&start)).await?;
        started.map_err(|error| unexpected(format_args!("start with a baseline at {after}"), error))
    }

    /// How far a source says that it lags behind.
    pub(super) async fn lag(&self, source: &dyn Source) -> Result<Lag, Fault> {
        match self.in_time("lag", source.lag()).await? {
            Some(lag) => Ok(lag),
            None => broken("a source that tells its lag did not"),
        }
    }

    pub(super) async fn acknowledge(&self, source: &dyn Source, checkpoint: &Checkpoint) -> Result<(), Fault> {
        let stored = self.in_time("acknowledge", source.acknowledge(checkpoint)).await?;
        stored.map_err(|error| unexpected("acknowledge", error))
    }

    /// A checkpoint of this feed, as its relay would acknowledge it.
    pub(super) fn checkpoint(&self, elected: &Elected, epoch: Epoch, position: &Position) -> Checkpoint {
        let publisher = PublisherIdentity::new("conformance", "nowhere");
        let identity = FeedIdentity::new(self.feed.clone(), epoch, elected.identity.clone(), publisher);
        Checkpoint::new(identity, position.clone())
    }

    /// Gives up, with an error, a call that does not end.
    pub(super) async fn in_time<T>(&self, call: &str, future: impl Future<Output = T>) -> Result<T, Fault> {
        match tokio::time::timeout(self.call_limit, future).await {
            Ok(answer) => Ok(answer),
            Err(_) => broken(format!("{call} did not answer within {:?}", self.call_limit)),
        }
    }

    /// Commits one transaction with the next event of each of these keys.
    pub(super) async fn commit(&mut self, keys: &[usize]) -> Result<(), Fault> {
        let mut open = self.begin().await?;
        self.append(&mut open, keys).await?;
        self.end(open).await
    }

    /// Has a chunk of a snapshot given, with the next event of each of these keys.
    pub(super) async fn add_chunk(&mut self, keys: &[usize]) -> Result<(), Fault> {
        let events: Vec<NewEvent> = keys.iter().map(|&key| self.event(key)).collect();
        self.database.add_chunk(&events).await?;
        self.committed.push(events);
        Ok(())
    }

    /// Records a rejoin of this feed.
    pub(super) async fn rejoin(&self) -> Result<Epoch, Fault> {
        Ok(self.database.rejoin(&self.feed).await?)
    }

    pub(super) async fn begin(&self) -> Result<Open, Fault> {
        Ok(Open { writer: self.database.begin().await?, events: Vec::new() })
    }

    pub(super) async fn append(&mut self, open: &mut Open, keys: &[usize]) -> Result<(), Fault> {
        let events: Vec<NewEvent> = keys.iter().map(|&key| self.event(key)).collect();
        open.writer.append(&events).await?;
        open.events.extend(events);
        Ok(())
    }

    pub(super) async fn end(&mut self, open: Open) -> Result<(), Fault> {
        open.writer.commit().await?;
        self.committed.push(open.events);
        Ok(())
    }

    /// Rolls back; its versions are free again. Gives the events that never were.
    pub(super) async fn roll_back(&mut self, open: Open) -> Result<Vec<NewEvent>, Fault> {
        open.writer.roll_back().await?;
        for event in &open.events {
            let key = self.keys.iter().position(|key| *key == event.key);
            if let Some(version) = key.and_then(|key| self.versions.get_mut(&key)) {
                *version -= 1;
            }
        }
        Ok(open.events)
    }

    /// The next event of a key.
    fn event(&mut self, key: usize) -> NewEvent {
        let version = self.versions.entry(key).or_default();
        *version += 1;
        let number = *version;
        let traced = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        NewEvent {
            event_id: EventId::new(Uuid::now_v7()),
            key: self.keys[key].clone(),
            version: number,
            event_type: "test_changed.v1".to_owned(),
            payload: format!(r#"{{"number":{number},"text":"½ Schlüssel ✓ \" \\ \n","price":12.50}}"#),
            occurred_at: time(number),
            traceparent: (number % 2 == 1).then(|| traced.to_owned()),
        }
    }

    /// Every committed event.
    pub(super) fn events(&self) -> Vec<NewEvent> {
        self.committed.iter().flatten().cloned().collect()
    }

    /// Reads until all of these were given and the run that gave the last one is complete, or for
    /// as long as a source may take.
    pub(super) async fn read(&self, source: &dyn Source, until: &[NewEvent]) -> Result<Given, Fault> {
        let mut given = Given::default();
        self.read_on(source, until, &mut given).await?;
        Ok(given)
    }

    pub(super) async fn read_on(
        &self,
        source: &dyn Source,
        until: &[NewEvent],
        given: &mut Given,
    ) -> Result<(), Fault> {
        let mut progress = Instant::now();
        let ids = until.iter().map(|event| event.event_id);
        let mut awaited: HashSet<EventId> = ids.filter(|id| !given.times.contains_key(id)).collect();
        while !awaited.is_empty() || !given.is_complete() {
            let left = self.given_within.saturating_sub(progress.elapsed());
            match tokio::time::timeout(left, source.next()).await {
                Err(_) => return Ok(()),
                Ok(Err(error)) => return Err(unexpected("next", error)),
                Ok(Ok(run)) => {
                    if !run.changes.is_empty() {
                        progress = Instant::now();
                    }
                    given.push(run)?;
                    awaited.retain(|id| !given.times.contains_key(id));
                }
            }
        }
        Ok(())
    }

    /// Reads for a moment what comes unasked: runs that no commit brings about.
    pub(super) async fn read_idly(&self, source: &dyn Source) -> Result<Given, Fault> {
        let mut given = Given::default();
        while let Ok(run) = tokio::time::timeout(IDLE_LOOK, source.next()).await {
            given.push(run.map_err(|error| unexpected("next", error))?)?;
        }
        Ok(given)
    }
}

impl Given {
    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.runs.iter().flat_map(|run| &run.changes)
    }

    pub(super) fn push(&mut self, run: Changes) -> Result<(), Fault> {
        for change in &run.changes {
            let Content::Event(event) = &change.content else {
                return broken(format!("a change at {} was given that is no event", change.position));
            };
            *self.times.entry(event.event_id).or_default() += 1;
        }
        self.runs.push(run);
        Ok(())
    }

    pub(super) fn runs(&self) -> &[Changes] {
        &self.runs
    }

    /// How often an event was given.
    pub(super) fn times(&self, event: &NewEvent) -> usize {
        self.times.get(&event.event_id).copied().unwrap_or_default()
    }

    fn is_complete(&self) -> bool {
        self.runs.last().is_none_or(|run| run.end.position().is_some())
    }

    /// The complete ends, each with the number of runs up to it.
    pub(super) fn ends(&self) -> Vec<(usize, Position)> {
        let runs = self.runs.iter().enumerate();
        runs.filter_map(|(index, run)| Some((index + 1, run.end.position()?.clone()))).collect()
    }

    /// The last complete end.
    pub(super) fn end(&self) -> Position {
        self.ends().pop().map_or(Position::ORIGIN, |(_, end)| end)
    }
}

/// The event of a change that was given.
pub(super) fn event_of(change: &Change) -> &crate::feed::event::EventRecord {
    match &change.content {
        Content::Event(event) => event,
        Content::Row(_) => unreachable!("nothing else gets into what was given"),
    }
}

/// The first of these that was not given is missing.
pub(super) fn all_given(given: &Given, events: &[NewEvent], where_from: &str) -> Result<(), Fault> {
    match events.iter().find(|event| given.times(event) == 0) {
        Some(lost) => broken(format!("{} was not given {where_from}", named(lost))),
        None => Ok(()),
    }
}

/// What tells an event in a report.
pub(super) fn named(event: &NewEvent) -> String {
    format!("the event of key {}, version {}", event.key, event.version)
}

/// What an error means to a rule that expects none.
pub(super) fn unexpected(call: impl Display, error: SourceError) -> Fault {
    let sources = std::iter::successors(std::error::Error::source(&error), |error| error.source());
    let what = sources.fold(format!("{call} failed: {error}"), |text, source| format!("{text}: {source}"));
    match error {
        SourceError::Transient(_) => Fault::Disturbed(what),
        _ => Fault::Broken(what),
    }
}

pub(super) fn new_feed() -> FeedName {
    let name = format!("conformance_{}", Uuid::now_v7().simple());
    FeedName::new(name).unwrap_or_else(|_| unreachable!("44 lower-case letters, digits and underscores"))
}

fn time(number: u64) -> DateTime<Utc> {
    let millis = 1_793_000_000_123 + i64::try_from(number).unwrap_or_default();
    Utc.timestamp_millis_opt(millis).single().unwrap_or_default()
}
