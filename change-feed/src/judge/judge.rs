//! The comparison itself.

use std::collections::BTreeMap;

use super::history::{Fate, History, Index, Lookup};
use super::observed::Observed;
use super::transactions::{Member, Transactions};
use super::verdict::{Finding, FindingKind, RecordPlace, Verdict};
use crate::feed::change::Mark;
use crate::feed::event::EventId;
use crate::feed::identity::{Epoch, FeedName};
use crate::feed::position::Position;

/// How often the topic's publisher promises to deliver an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Once: a record that comes again is a violation, unless it is marked as a replay.
    ExactlyOnce,
    /// At least once: a record that comes again is counted, if it carries the same event id, and
    /// only the first one of each event is judged for its order.
    AtLeastOnce,
}

/// Compares the records of one topic with a history.
///
/// Give it every record, those of each partition in their order; partitions may alternate.
///
/// # Epochs
///
/// Records of a key are ordered by epoch, then by version. A baseline that opens an epoch of its
/// key holds the effect of every earlier version: what was not published before it is *covered*,
/// and what the history doesn't hold of earlier epochs is *superseded* (after a restored backup,
/// say). Neither is a violation.
///
/// ```
/// use change_feed::judge::{Delivery, Expected, FindingKind, History, Judge, Observed};
/// use change_feed::{Epoch, EventId, FeedName, Mark, Position};
///
/// let event_id = EventId::new(uuid::Uuid::now_v7());
/// let history = History::from_iter([Expected { key: "order-1", version: 1, event_id, transaction: None }]);
/// let mut judge = Judge::new(history, Delivery::ExactlyOnce);
/// let record = Observed {
///     partition: 3,
///     offset: 0,
///     key: "order-1",
///     version: 1,
///     event_id,
///     feed: &FeedName::new("orders")?,
///     epoch: Epoch::FIRST,
///     position: &Position::new('s', 1, 0),
///     transaction: None,
///     withheld: false,
///     mark: Mark::Change,
/// };
/// judge.observe(&record);
/// judge.observe(&Observed { offset: 1, ..record });
/// let verdict = judge.verdict();
/// assert_eq!(verdict.total(FindingKind::Duplicated), 1);
/// assert!(!verdict.is_clean());
/// # Ok::<(), change_feed::InvalidFeedName>(())
/// ```
#[derive(Debug)]
pub struct Judge {
    delivery: Delivery,
    /// Where the history ends, by feed.
    through: BTreeMap<FeedName, (Epoch, Position)>,
    history: Index,
    progress: Vec<Progress>,
    /// Records that the history doesn't hold, by key and epoch: a later baseline may repair them.
    unexpected: BTreeMap<(usize, Epoch), Unexpected>,
    transactions: Transactions,
    verdict: Verdict,
}

/// How far the topic has come with a key.
#[derive(Debug, Clone, Default)]
struct Progress {
    partition: Option<u32>,
    /// The last epoch and the highest version in it.
    last: Option<(Epoch, u64)>,
    /// The highest version of a baseline.
    covered_through: u64,
    /// The last baseline.
    baseline: Option<(Epoch, EventId)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Unexpected {
    extra: u64,
    conflicting: u64,
}

impl Judge {
    /// Violations of one kind that a verdict names, unless it is set.
    pub const FINDINGS_PER_KIND_MAX: usize = 20;

    /// A judge that knows what should have been published.
    pub fn new(history: History, delivery: Delivery) -> Self {
        let history = history.index();
        let mut judge = Self {
            delivery,
            through: BTreeMap::new(),
            progress: vec![Progress::default(); history.key_count()],
            history,
            unexpected: BTreeMap::new(),
            transactions: Transactions::default(),
            verdict: Verdict::new(Self::FINDINGS_PER_KIND_MAX),
        };
        judge.verdict.counts_mut().expected = judge.history.events.len() as u64;
        judge
    }

    /// The history ends at this position of this epoch of this feed: its records after it are counted, not judged.
    #[must_use]
    pub fn through(mut self, feed: FeedName, epoch: Epoch, position: Position) -> Self {
        self.through.insert(feed, (epoch, position));
        self
    }

    /// How many violations of one kind the verdict names; it counts all of them.
    #[must_use]
    pub fn findings_per_kind_max(mut self, max: usize) -> Self {
        let counts = *self.verdict.counts();
        self.verdict = Verdict::new(max);
        *self.verdict.counts_mut() = counts;
        self
    }

    /// Takes the next record of a partition.
    pub fn observe(&mut self, record: &Observed<'_>) {
        let beyond = self.is_beyond(record);
        let counts = self.verdict.counts_mut();
        counts.records += 1;
        if beyond {
            counts.beyond += 1;
            return;
        }
        counts.withheld += u64::from(record.withheld);
        counts.replays += u64::from(record.mark == Mark::Replay);
        let Some(key) = self.history.key(record.key) else {
            return self.extra(record, "no event of this key in the history");
        };
        if record.mark == Mark::Baseline && self.progress[key].baseline == Some((record.epoch, record.event_id)) {
            return self.repeat(record);
        }
        match self.history.look_up(key, record.version) {
            // A baseline is a state, not the event itself: it may have an id of its own.
            Lookup::Event(event) if self.opens_epoch(key, record) => self.open_epoch(key, Some(event), record),
            Lookup::Event(event) if self.history.events[event].id == record.event_id => self.take(key, event, record),
            Lookup::Event(event) => self.conflict(key, event, record),
            Lookup::Pruned if self.opens_epoch(key, record) => self.open_epoch(key, None, record),
            Lookup::Pruned => self.take_pruned(key, record),
            Lookup::Unknown => {
                self.unexpected.entry((key, record.epoch)).or_default().extra += 1;
                self.extra(record, "no such version in the history");
            }
        }
    }

    /// Ends the comparison: what was not observed is missing.
    pub fn verdict(mut self) -> Verdict {
        for key in 0..self.history.key_count() {
            self.finish_key(key);
        }
        for (member, fault) in std::mem::take(&mut self.transactions).finish(&self.history) {
            let event = &self.history.events[member.event];
            self.verdict.find(Finding {
                kind: FindingKind::Torn,
                key: Box::from(self.history.name(member.key)),
                version: event.version,
                event_id: Some(event.id),
                epoch: Some(member.epoch),
                place: Some(member.place),
                detail: fault,
            });
        }
        self.verdict
    }

    fn is_beyond(&self, record: &Observed<'_>) -> bool {
        self.through.get(record.feed).is_some_and(|(epoch, position)| {
            record.epoch > *epoch || (record.epoch == *epoch && record.position > position)
        })
    }

    fn opens_epoch(&self, key: usize, record: &Observed<'_>) -> bool {
        record.mark == Mark::Baseline && self.progress[key].last.is_none_or(|(epoch, _)| epoch < record.epoch)
    }

    /// A record of an event of the history.
    fn take(&mut self, key: usize, event: usize, record: &Observed<'_>) {
        if self.history.events[event].fate == Fate::Seen {
            if record.mark != Mark::Replay {
                self.repeat(record);
            }
            return;
        }
        self.verdict.counts_mut().published += 1;
        self.history.see(event);
        if let Some(place) = record.transaction
            && let Err(fault) = self.transactions.take(record, member(key, event, record), place, &self.history)
        {
            self.find(FindingKind::Torn, record, &fault);
        }
        if record.mark != Mark::Replay {
            self.follow(key, record);
        }
    }

    /// The state of a key at the beginning of an epoch.
    fn open_epoch(&mut self, key: usize, event: Option<usize>, record: &Observed<'_>) {
        self.verdict.counts_mut().baselines += 1;
        if let Some(event) = event.map(|event| &mut self.history.events[event])
            && event.fate != Fate::Seen
        {
            event.fate = Fate::Seen;
            self.verdict.counts_mut().published += 1;
        }
        let progress = &mut self.progress[key];
        progress.last = Some((record.epoch, record.version));
        progress.covered_through = progress.covered_through.max(record.version);
        progress.baseline = Some((record.epoch, record.event_id));
        progress.partition.get_or_insert(record.partition);
        self.supersede(key, record);
    }

    /// Takes back what an earlier epoch published and the history doesn't hold.
    fn supersede(&mut self, key: usize, record: &Observed<'_>) {
        let earlier: Vec<_> =
            self.unexpected.range((key, Epoch::new(0))..(key, record.epoch)).map(|(&at, _)| at).collect();
        for at in earlier {
            let Unexpected { extra, conflicting } = self.unexpected.remove(&at).unwrap_or_default();
            let verdict = &mut self.verdict;
            verdict.counts_mut().superseded += extra + conflicting;
            verdict.take_back(FindingKind::Extra, record.key, record.epoch, extra);
            verdict.take_back(FindingKind::Conflicting, record.key, record.epoch, conflicting);
            if conflicting > 0 {
                let span = self.history.span(key);
                for event in &mut self.history.events[span] {
                    if event.fate == Fate::Displaced {
                        event.fate = Fate::Absent;
                    }
                }
            }
        }
    }

    /// A record of an event that was published before.
    fn repeat(&mut self, record: &Observed<'_>) {
        match self.delivery {
            Delivery::ExactlyOnce => self.find(FindingKind::Duplicated, record, ""),
            Delivery::AtLeastOnce => self.verdict.counts_mut().redelivered += 1,
        }
    }

    /// Judges the order of a record that is the first of its event.
    fn follow(&mut self, key: usize, record: &Observed<'_>) {
        let progress = &mut self.progress[key];
        let partition = *progress.partition.get_or_insert(record.partition);
        if partition != record.partition {
            // Its place among the others says nothing: partitions are read side by side.
            let detail = format!("the key's first record is in partition {partition}");
            return self.find(FindingKind::Scattered, record, &detail);
        }
        let now = (record.epoch, record.version);
        let Some(last) = progress.last.filter(|last| *last > now) else {
            let before = progress.last.replace(now);
            return self.join_pruned(key, before, record);
        };
        let detail = format!("after v{} of epoch {}", last.1, last.0);
        self.find(FindingKind::Inverted, record, &detail);
    }

    /// Where the topic goes over from pruned versions to those of the history, none may be left out.
    fn join_pruned(&mut self, key: usize, before: Option<(Epoch, u64)>, record: &Observed<'_>) {
        let first = self.history.first_version(key);
        if let Some((epoch, version)) = before
            && epoch == record.epoch
            && version + 1 < first
            && record.version >= first
        {
            self.gap(record, version + 1, first - 1);
        }
    }

    /// A record of a version that the outbox no longer holds: told by versions alone.
    fn take_pruned(&mut self, key: usize, record: &Observed<'_>) {
        self.verdict.counts_mut().pruned += 1;
        self.transactions.disturb(record);
        if record.mark == Mark::Replay {
            return;
        }
        let progress = &mut self.progress[key];
        let now = (record.epoch, record.version);
        match progress.last {
            Some(last) if now <= last => self.repeat(record),
            last => {
                progress.last = Some(now);
                progress.partition.get_or_insert(record.partition);
                if let Some((epoch, version)) = last
                    && epoch == record.epoch
                    && version + 1 < record.version
                {
                    self.gap(record, version + 1, record.version - 1);
                }
            }
        }
    }

    fn extra(&mut self, record: &Observed<'_>, detail: &str) {
        self.transactions.disturb(record);
        self.find(FindingKind::Extra, record, detail);
    }

    fn conflict(&mut self, key: usize, event: usize, record: &Observed<'_>) {
        self.unexpected.entry((key, record.epoch)).or_default().conflicting += 1;
        self.transactions.disturb(record);
        let event = &mut self.history.events[event];
        if event.fate == Fate::Absent {
            event.fate = Fate::Displaced;
        }
        let detail = format!("the history has event {}", event.id);
        self.find(FindingKind::Conflicting, record, &detail);
    }

    fn gap(&mut self, record: &Observed<'_>, from: u64, to: u64) {
        let detail = format!("nothing of v{from} to v{to}, neither in the history nor in the topic");
        self.find(FindingKind::Gap, record, &detail);
    }

    fn find(&mut self, kind: FindingKind, record: &Observed<'_>, detail: &str) {
        self.verdict.find(Finding {
            kind,
            key: Box::from(record.key),
            version: record.version,
            event_id: Some(record.event_id),
            epoch: Some(record.epoch),
            place: Some(place(record)),
            detail: detail.to_owned(),
        });
    }

    /// What is wrong with a key's history, and what of it was not published.
    fn finish_key(&mut self, key: usize) {
        let mut previous: Option<u64> = None;
        for event in self.history.span(key) {
            let version = self.history.events[event].version;
            if previous == Some(version) {
                self.find_event(FindingKind::Conflicting, key, event, "two events in the history");
            } else if let Some(previous) = previous.filter(|previous| previous + 1 < version) {
                let detail = format!("the history has no event of v{} to v{}", previous + 1, version - 1);
                self.find_event(FindingKind::Gap, key, event, &detail);
            }
            if previous != Some(version) && self.history.events[event].fate == Fate::Absent {
                self.miss(key, event, version);
            }
            previous = Some(version);
        }
    }

    fn miss(&mut self, key: usize, event: usize, version: u64) {
        if version <= self.progress[key].covered_through {
            self.verdict.counts_mut().covered += 1;
            return;
        }
        match self.history.publication(event).filter(|publication| publication.seen > 0) {
            Some(publication) => {
                let detail = format!(
                    "not published, though {} of its transaction's {} events are",
                    publication.seen, publication.events
                );
                self.find_event(FindingKind::Torn, key, event, &detail);
            }
            None => self.find_event(FindingKind::Missing, key, event, "not published"),
        }
    }

    fn find_event(&mut self, kind: FindingKind, key: usize, event: usize, detail: &str) {
        let event = &self.history.events[event];
        self.verdict.find(Finding {
            kind,
            key: Box::from(self.history.name(key)),
            version: event.version,
            event_id: Some(event.id),
            epoch: None,
            place: None,
            detail: detail.to_owned(),
        });
    }
}

fn place(record: &Observed<'_>) -> RecordPlace {
    RecordPlace { partition: record.partition, offset: record.offset }
}

fn member(key: usize, event: usize, record: &Observed<'_>) -> Member {
    Member { key, event, epoch: record.epoch, place: place(record) }
}
