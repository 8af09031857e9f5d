//! What was committed, and what feeds store beside it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::feed::change::Change;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::event::EventRecord;
use crate::feed::identity::FeedName;
use crate::feed::mismatch::Mismatch;
use crate::feed::part::{Changes, End};
use crate::feed::position::Position;
use crate::feed::transaction::TransactionPlace;

/// The letter of this source's positions; their first word is the sequence number of a change.
const KIND: char = 'm';

/// What was committed in a database, and what feeds store beside it.
#[derive(Default)]
pub(super) struct History {
    /// What was committed and is not forgotten, by sequence number.
    pub(super) changes: VecDeque<Change>,
    /// The sequence number of the last commit.
    pub(super) end: u64,
    /// Changes through this sequence number are gone.
    pub(super) forgotten: u64,
    transactions: u64,
    pub(super) versions: HashMap<Arc<str>, u64>,
    pub(super) checkpoints: HashMap<FeedName, Checkpoint>,
    /// Which source is elected for a feed.
    pub(super) elected: HashMap<FeedName, u64>,
}

impl History {
    /// Commits a transaction and gives its position.
    pub(super) fn append(&mut self, records: Vec<EventRecord>) -> Position {
        self.transactions += 1;
        let last = records.len().saturating_sub(1);
        if records.is_empty() {
            self.end += 1;
        }
        for (index, event) in records.into_iter().enumerate() {
            self.end += 1;
            self.changes.push_back(Change::event(place(self.end), event).in_transaction(if index == last {
                TransactionPlace::last(self.transactions, clamped(last + 1))
            } else {
                TransactionPlace::new(self.transactions, clamped(index))
            }));
        }
        place(self.end)
    }

    /// The index of the first change after a sequence number.
    pub(super) fn first_after(&self, sequence: u64) -> usize {
        self.changes.partition_point(|change| change.position.major() <= sequence)
    }

    /// At most `max` changes after a sequence number, and the sequence number through which they go.
    pub(super) fn run_after(&self, after: u64, max: usize) -> Option<(Changes, u64)> {
        if after >= self.end {
            return None;
        }
        let first = self.first_after(after);
        let limit = self.changes.len().min(first.saturating_add(max));
        let whole = self.changes.range(first..limit).rposition(ends_transaction);
        let (count, through) = match whole {
            Some(last) if first + last + 1 == self.changes.len() => (last + 1, self.end),
            Some(last) => (last + 1, self.changes[first + last].position.major()),
            None if first == limit => (0, self.end),
            None => (limit - first, self.changes[limit - 1].position.major()),
        };
        let end = match whole {
            None if count > 0 => End::Continues,
            _ => End::Complete(place(through)),
        };
        let changes = self.changes.range(first..first + count).cloned().collect();
        Some((Changes { changes, end }, through))
    }

    /// Whether what follows a position can be given.
    pub(super) fn check_start(&self, after: &Position) -> Result<(), Mismatch> {
        let gone = |detail: &str| Err(Mismatch::SourceGone { position: after.clone(), detail: detail.to_owned() });
        if after.kind().is_some_and(|kind| kind != KIND) {
            return gone("the position was made by a source of another kind");
        }
        if after.major() > self.end {
            return Err(Mismatch::SourceBehind { position: after.clone(), source_end: place(self.end) });
        }
        if after.major() < self.forgotten {
            return gone("they were forgotten");
        }
        let before = self.first_after(after.major()).checked_sub(1);
        match before.map(|index| &self.changes[index]) {
            Some(change) if change.position == *after && !ends_transaction(change) => {
                gone("the position is in the middle of a transaction")
            }
            _ => Ok(()),
        }
    }
}

fn ends_transaction(change: &Change) -> bool {
    change.transaction.as_ref().is_some_and(|place| place.count.is_some())
}

/// The position of the change with this sequence number; 0 is before the first.
pub(super) fn place(sequence: u64) -> Position {
    match sequence {
        0 => Position::ORIGIN,
        _ => Position::new(KIND, sequence, 0),
    }
}

/// A transaction of more changes than fit into 32 bits doesn't fit into memory either.
fn clamped(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
