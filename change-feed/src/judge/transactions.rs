//! What the records say of their database transactions.

use std::collections::{BTreeMap, HashMap};

use super::history::Index;
use super::observed::Observed;
use super::verdict::RecordPlace;
use crate::feed::identity::{Epoch, FeedName};
use crate::feed::transaction::{TransactionId, TransactionPlace};

/// The transactions that the records name and that are not whole yet.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: HashMap<(FeedName, Epoch, TransactionId), Claim>,
}

/// What the records of one transaction said so far.
#[derive(Debug)]
pub(super) struct Claim {
    indexes: IndexSet,
    count: Option<u32>,
    /// Something else is wrong with it and was said already.
    disturbed: bool,
    /// The record that opened it; `None` in a transaction that was disturbed first.
    first: Option<Member>,
}

/// A record of a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) key: usize,
    pub(super) event: usize,
    pub(super) epoch: Epoch,
    pub(super) place: RecordPlace,
}

impl Transactions {
    /// Takes the first record of an event. An error says what is wrong with its place.
    pub(super) fn take(
        &mut self,
        record: &Observed<'_>,
        member: Member,
        place: &TransactionPlace,
        history: &Index,
    ) -> Result<(), String> {
        let id = (record.feed.clone(), record.epoch, place.id.clone());
        let claim = self.open.entry(id.clone()).or_insert_with(|| Claim::new(Some(member)));
        let taken = claim.take(member, place, history);
        if claim.is_whole() && !claim.disturbed {
            self.open.remove(&id);
        }
        taken
    }

    /// A record of this transaction is wrong in another way, or of no event that the history still
    /// holds: what its transaction lacks is no finding of its own.
    pub(super) fn disturb(&mut self, record: &Observed<'_>) {
        if let Some(place) = record.transaction {
            let claim = self.open.entry((record.feed.clone(), record.epoch, place.id.clone()));
            claim.or_insert_with(|| Claim::new(None)).disturbed = true;
        }
    }

    /// The transactions that are wrong at the end, each with one of its records and the reason.
    pub(super) fn finish(self, history: &Index) -> Vec<(Member, String)> {
        let claims = self.open.into_values();
        let mut torn: Vec<_> = claims.filter_map(|claim| claim.fault_at_the_end(history)).collect();
        torn.sort_by_key(|(member, _)| member.event);
        torn
    }
}

impl Claim {
    fn new(first: Option<Member>) -> Self {
        Self { indexes: IndexSet::default(), count: None, disturbed: false, first }
    }

    fn take(&mut self, member: Member, place: &TransactionPlace, history: &Index) -> Result<(), String> {
        if self.disturbed {
            return Ok(());
        }
        let fault = self.fault_of(member, place, history);
        self.count = self.count.or(place.count);
        match fault {
            Some(fault) => {
                self.disturbed = true;
                Err(format!("transaction {}: {fault}", place.id))
            }
            None => Ok(()),
        }
    }

    fn fault_of(&mut self, member: Member, place: &TransactionPlace, history: &Index) -> Option<String> {
        let TransactionPlace { index, count, .. } = *place;
        if !self.indexes.insert(index) {
            return Some(format!("two records have index {index}"));
        }
        if let (Some(before), Some(now)) = (self.count, count) {
            return Some(format!("two records count it: {before} and {now}"));
        }
        if let Some(count) = count
            && count.checked_sub(1) != Some(index)
        {
            return Some(format!("the record with index {index} counts {count}, and is not the last"));
        }
        if let Some(count) = self.count.or(count)
            && self.indexes.highest >= count
        {
            return Some(format!("a record has index {}, of {count}", self.indexes.highest));
        }
        let one = self.first.is_none_or(|first| history.may_be_of_one_transaction(first.event, member.event));
        (!one).then(|| "its records are of different transactions in the history".to_owned())
    }

    fn is_whole(&self) -> bool {
        self.count == Some(self.indexes.len)
    }

    /// What the history doesn't know is told by the records alone. What it knows to be absent is
    /// found there, event by event, and explains what the records lack.
    fn fault_at_the_end(&self, history: &Index) -> Option<(Member, String)> {
        let first = self.first.filter(|_| !self.disturbed && !self.is_whole())?;
        let seen = self.indexes.len;
        let fault = match (history.publication(first.event), self.count) {
            (Some(publication), _) if publication.seen > seen => format!(
                "{} events of its transaction were published, {seen} say that they belong to it",
                publication.seen
            ),
            // The history may lack some of the transaction's events, and that explains everything.
            (Some(_), _) if history.is_pruned => return None,
            (Some(publication), _) if self.indexes.highest >= publication.events => format!(
                "a record of its transaction has index {}, of {} events in the history",
                self.indexes.highest, publication.events
            ),
            (Some(publication), None) if publication.events == seen => {
                format!("none of the {seen} records of its transaction counts them")
            }
            (Some(_), _) => return None,
            (None, Some(count)) => format!("{seen} of {count} records of its transaction were published"),
            (None, None) => format!("{seen} records of its transaction were published, and no last one"),
        };
        Some((first, fault))
    }
}

/// Indexes seen, as runs: records of a transaction come nearly in order.
#[derive(Debug, Default)]
struct IndexSet {
    /// The end of each run (exclusive) by its start.
    runs: BTreeMap<u32, u32>,
    len: u32,
    highest: u32,
}

impl IndexSet {
    /// False if it was there already.
    fn insert(&mut self, index: u32) -> bool {
        let before = self.runs.range(..=index).next_back().map(|(&start, &end)| (start, end));
        if before.is_some_and(|(_, end)| index < end) {
            return false;
        }
        // No transaction has this many records; the last number has no end to write down.
        let Some(mut end) = index.checked_add(1) else {
            return false;
        };
        if let Some(after) = self.runs.remove(&end) {
            end = after;
        }
        let start = match before {
            Some((start, before_end)) if before_end == index => start,
            _ => index,
        };
        self.runs.insert(start, end);
        self.len += 1;
        self.highest = self.highest.max(index);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::IndexSet;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn runs_hold_exactly_what_was_inserted(indexes in proptest::collection::vec(0u32..40, 0..80)) {
            let (mut runs, mut plain) = (IndexSet::default(), BTreeSet::new());
            for index in indexes {
                prop_assert_eq!(runs.insert(index), plain.insert(index));
                prop_assert_eq!(runs.len as usize, plain.len());
            }
            let held: BTreeSet<u32> = runs.runs.iter().flat_map(|(&start, &end)| start..end).collect();
            prop_assert_eq!(held, plain);
        }
    }
}
