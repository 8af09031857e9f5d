//! The place of a row in its database transaction, counted as rows are given.

use std::collections::HashMap;

use crate::feed::transaction::TransactionPlace;

#[derive(Debug, Clone, Copy)]
struct Tally {
    given: u32,
    total: u32,
}

/// The transactions of a window of which more follows. Those that are wholly given are forgotten, so
/// it holds no more than the transactions that overlap at one sequence number.
#[derive(Debug, Default)]
pub(super) struct Transactions(HashMap<u64, Tally>);

impl Transactions {
    /// Counts a whole window at once.
    pub(super) fn count(ids: impl Iterator<Item = u64>) -> Self {
        let mut transactions = Self::default();
        for id in ids {
            let tally = transactions.0.entry(id).or_insert(Tally { given: 0, total: 0 });
            tally.total = tally.total.saturating_add(1);
        }
        transactions
    }

    pub(super) fn knows(&self, id: u64) -> bool {
        self.0.contains_key(&id)
    }

    /// Transaction `id` has `total` rows, of which `given` have been given.
    pub(super) fn learn(&mut self, id: u64, given: u32, total: u32) {
        self.0.insert(id, Tally { given, total });
    }

    /// The place of the next row of transaction `id`.
    pub(super) fn next(&mut self, id: u64) -> Option<TransactionPlace> {
        let tally = self.0.get_mut(&id)?;
        let index = tally.given;
        tally.given = tally.given.saturating_add(1);
        let last = tally.given >= tally.total;
        let count = last.then_some(tally.total);
        if last {
            self.0.remove(&id);
        }
        Some(TransactionPlace { count, ..TransactionPlace::new(id, index) })
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_transactions_are_numbered_and_the_last_row_names_the_count() {
        let ids = [7, 8, 7, 7, 8];
        let mut transactions = Transactions::count(ids.into_iter());
        let places: Vec<_> = ids.iter().filter_map(|&id| transactions.next(id)).collect();
        let seen: Vec<_> = places.iter().map(|p| (p.id.to_string(), p.index, p.count)).collect();
        let expected = [("7", 0, None), ("8", 0, None), ("7", 1, None), ("7", 2, Some(3)), ("8", 1, Some(2))];
        let expected = expected.map(|(id, index, count)| (id.to_owned(), index, count));
        assert_eq!(seen, expected);
        assert!(!transactions.knows(7) && !transactions.knows(8), "what is given is forgotten");
    }

    #[test]
    fn a_transaction_goes_on_where_it_was_left() {
        let mut transactions = Transactions::default();
        transactions.learn(9, 2, 3);
        let place = transactions.next(9).expect("it was learned");
        assert_eq!((place.index, place.count), (2, Some(3)));
        assert_eq!(transactions.next(9), None);
    }
}
