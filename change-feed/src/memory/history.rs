//! What was committed, and what feeds store beside it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use crate::feed::change::{Change, Content, Mark};
use crate::feed::checkpoint::Checkpoint;
use crate::feed::event::{EventId, EventRecord};
use crate::feed::identity::{Epoch, FeedName};
use crate::feed::mismatch::Mismatch;
use crate::feed::part::{Changes, End};
use crate::feed::position::Position;
use crate::feed::transaction::TransactionPlace;

/// The letter of this source's positions; their first word is the sequence number of a change.
const KIND: char = 'm';

/// What was committed in a database, and what feeds store beside it.
#[derive(Default)]
pub(super) struct History {
    /// What was committed and is not forgotten, in the order of the positions.
    entries: VecDeque<Entry>,
    /// The sequence number of the last commit.
    sequence: u64,
    /// The rows of chunks since then.
    chunk_rows: u64,
    /// Changes through this sequence number are gone.
    forgotten: u64,
    transactions: u64,
    pub(super) versions: HashMap<Arc<str>, u64>,
    pub(super) checkpoints: HashMap<FeedName, Checkpoint>,
    pub(super) rejoins: HashMap<FeedName, Rejoin>,
    /// Which source is elected for a feed.
    pub(super) elected: HashMap<FeedName, u64>,
}

/// A change, and whether its position is a place to start from.
struct Entry {
    change: Change,
    is_end: bool,
}

/// A rejoin that is recorded, until the end of its baseline is acknowledged.
pub(super) struct Rejoin {
    pub(super) epoch: Epoch,
    /// One of every key, in the order of the positions.
    baseline: Vec<Change>,
    /// The place of the last of them.
    end: Position,
}

impl History {
    /// Commits a transaction and gives its position.
    pub(super) fn append(&mut self, records: Vec<EventRecord>) -> Position {
        self.transactions += 1;
        self.chunk_rows = 0;
        let last = records.len().saturating_sub(1);
        if records.is_empty() {
            self.sequence += 1;
        }
        for (index, event) in records.into_iter().enumerate() {
            self.sequence += 1;
            let place = if index == last {
                TransactionPlace::last(self.transactions, clamped(last + 1))
            } else {
                TransactionPlace::new(self.transactions, clamped(index))
            };
            let change = Change::event(place_of(self.sequence), event).in_transaction(place);
            self.entries.push_back(Entry { change, is_end: index == last });
        }
        self.end()
    }

    /// Adds a chunk of a snapshot after the last commit, and gives its end.
    pub(super) fn append_chunk(&mut self, records: Vec<EventRecord>) -> Position {
        let last = records.len().saturating_sub(1);
        for (index, event) in records.into_iter().enumerate() {
            self.chunk_rows += 1;
            let change = Change::event(self.end(), event).marked(Mark::Snapshot);
            self.entries.push_back(Entry { change, is_end: index == last });
        }
        self.end()
    }

    /// Records that a feed begins a new epoch here; `None` if it has published nothing.
    pub(super) fn rejoin(&mut self, feed: &FeedName) -> Option<Epoch> {
        let mut checkpoint = self.checkpoints.get(feed)?.clone();
        // What is recorded is a commit, and the one after it keeps the baseline apart from chunks of others.
        let after = self.append(Vec::new());
        let mut latest: BTreeMap<Arc<str>, EventRecord> = BTreeMap::new();
        for Entry { change, .. } in &self.entries {
            if let Content::Event(event) = &change.content {
                latest.insert(Arc::clone(&event.key), event.clone());
            }
        }
        let baseline = latest.into_values().zip(1..).map(|(event, row)| {
            let event = EventRecord { event_id: EventId::new(Uuid::now_v7()), ..event };
            Change::event(Position::chunk(KIND, self.sequence, row), event).marked(Mark::Baseline)
        });
        let baseline: Vec<_> = baseline.collect();
        let end = baseline.last().map_or_else(|| after.clone(), |change| change.position.clone());
        self.append(Vec::new());
        let epoch = Epoch::new(checkpoint.identity.epoch.get() + 1);
        checkpoint.identity.epoch = epoch;
        checkpoint.position = after;
        self.checkpoints.insert(feed.clone(), checkpoint);
        self.rejoins.insert(feed.clone(), Rejoin { epoch, baseline, end });
        Some(epoch)
    }

    /// Stores a checkpoint unless a later one is stored.
    pub(super) fn acknowledge(&mut self, checkpoint: &Checkpoint) {
        let feed = &checkpoint.identity.feed;
        let stored = self.checkpoints.get(feed);
        if stored.is_some_and(|stored| checkpoint.is_older_than(stored)) {
            return;
        }
        let is_over = |rejoin: &Rejoin| rejoin.epoch <= checkpoint.identity.epoch && rejoin.end <= checkpoint.position;
        if self.rejoins.get(feed).is_some_and(is_over) {
            self.rejoins.remove(feed);
        }
        self.checkpoints.insert(feed.clone(), checkpoint.clone());
    }

    /// The place of the last commit or chunk.
    pub(super) fn end(&self) -> Position {
        match self.chunk_rows {
            0 => place_of(self.sequence),
            rows => Position::chunk(KIND, self.sequence, rows),
        }
    }

    /// Everything that was committed and not forgotten, in order.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.entries.iter().map(|entry| &entry.change)
    }

    /// What was committed after a place and is not forgotten.
    pub(super) fn changes_after(&self, position: &Position) -> impl ExactSizeIterator<Item = &Change> {
        self.entries.range(self.first_after(position)..).map(|entry| &entry.change)
    }

    /// Drops what was committed through a place.
    pub(super) fn forget_through(&mut self, position: &Position) {
        let through = position.major().min(self.sequence);
        let gone = self.first_after(position);
        self.entries.drain(..gone);
        self.forgotten = self.forgotten.max(through);
    }

    /// The index of the first change after a place.
    fn first_after(&self, position: &Position) -> usize {
        self.entries.partition_point(|entry| entry.change.position <= *position)
    }

    /// At most `max` changes after a place, and the place through which they go.
    pub(super) fn run_after(&self, after: &Position, max: usize) -> Option<(Changes, Position)> {
        let end = self.end();
        if *after >= end {
            return None;
        }
        let first = self.first_after(after);
        let limit = self.entries.len().min(first.saturating_add(max));
        let at = |index: usize| self.entries[index].change.position.clone();
        let whole = self.entries.range(first..limit).rposition(|entry| entry.is_end).map(|last| first + last + 1);
        let (run_end, through, complete) = match whole {
            // What follows the last change is of no concern to any feed.
            Some(next) if next == self.entries.len() => (next, end, true),
            Some(next) => (next, at(next - 1), true),
            None if first == limit => (first, end, true),
            None => (limit, at(limit - 1), false),
        };
        let changes = self.entries.range(first..run_end).map(|entry| entry.change.clone()).collect();
        let end = if complete { End::Complete(through.clone()) } else { End::Continues };
        Some((Changes { changes, end }, through))
    }

    /// At most `max` changes of the baseline of a feed after a place; `None` at its end, and where none is wanted.
    pub(super) fn baseline_after(&self, feed: &FeedName, after: &Position, max: usize) -> Option<(Changes, Position)> {
        let baseline = &self.rejoins.get(feed)?.baseline;
        let first = baseline.partition_point(|change| change.position <= *after);
        let changes: Vec<_> = baseline[first..].iter().take(max).cloned().collect();
        let through = changes.last()?.position.clone();
        Some((Changes::complete(changes, through.clone()), through))
    }

    /// Whether what follows a position can be given.
    pub(super) fn check_start(&self, after: &Position) -> Result<(), Mismatch> {
        let gone = |detail: &str| Err(Mismatch::SourceGone { position: after.clone(), detail: detail.to_owned() });
        if after.kind().is_some_and(|kind| kind != KIND) {
            return gone("the position was made by a source of another kind");
        }
        if *after > self.end() {
            return Err(Mismatch::SourceBehind { position: after.clone(), source_end: self.end() });
        }
        if after.major() < self.forgotten {
            return gone("they were forgotten");
        }
        let before = self.first_after(after).checked_sub(1).map(|index| &self.entries[index]);
        match before {
            Some(entry) if entry.change.position == *after && !entry.is_end => {
                gone("the position is in the middle of a transaction or a chunk")
            }
            _ => Ok(()),
        }
    }
}

/// The position of the change with this sequence number; 0 is before the first.
pub(super) fn place_of(sequence: u64) -> Position {
    match sequence {
        0 => Position::ORIGIN,
        _ => Position::new(KIND, sequence, 0),
    }
}

/// A transaction of more changes than fit into 32 bits doesn't fit into memory either.
fn clamped(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
