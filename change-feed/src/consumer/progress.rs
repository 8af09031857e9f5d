//! How far a consumer has come, key by key.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::event::ReceivedEvent;
use crate::feed::identity::Epoch;

/// How far a consumer has come, key by key: the epoch and version of the last event that it took.
///
/// Store it (it is [`Serialize`]) in the same transaction as the effects of the events, and each
/// of them takes effect once. Memory: some 60 bytes and the key for each key.
///
/// ```
/// use change_feed::Epoch;
/// use change_feed::consumer::{Admission, Progress};
///
/// let mut progress = Progress::new();
/// assert_eq!(progress.admit_version("order-1", Epoch::FIRST, 1), Admission::New);
/// assert_eq!(progress.admit_version("order-1", Epoch::FIRST, 1), Admission::Duplicate);
/// assert_eq!(progress.admit_version("order-1", Epoch::FIRST, 4), Admission::Gap { expected: 2, got: 4 });
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The first event of an unknown key may have any version.
    joins_midway: bool,
    keys: HashMap<Box<str>, (Epoch, u64)>,
}

/// What an event is to a consumer that has come so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The next event of its key: take it.
    New,
    /// The state of its key at the beginning of an epoch: it replaces whatever the consumer knows
    /// of the key.
    Baseline,
    /// It was taken before, or belongs to an epoch that is over: pass it over.
    Duplicate,
    /// It was taken before, and an operator had it published again: take it if the consumer's
    /// effects can be repeated, and pass it over otherwise.
    Replay,
    /// Events of its key are missing before it. The progress stays where it is: a consumer that
    /// goes on nevertheless says so with [`Progress::take`].
    Gap {
        /// The version that should have come.
        expected: u64,
        /// The version that came.
        got: u64,
    },
}

impl Admission {
    /// Whether the consumer should apply the event: it is new, or a baseline.
    pub fn is_to_be_applied(self) -> bool {
        matches!(self, Self::New | Self::Baseline)
    }
}

/// What of an event decides on its admission.
#[derive(Clone, Copy)]
struct Step {
    epoch: Epoch,
    version: u64,
    baseline: bool,
    replay: bool,
}

impl Progress {
    /// The progress of a consumer that reads a topic from its first event.
    pub fn new() -> Self {
        Self::default()
    }

    /// The progress of a consumer that joins a topic midway: the first event of a key that it sees
    /// is new, whatever its version.
    pub fn joining_midway() -> Self {
        Self { joins_midway: true, keys: HashMap::new() }
    }

    /// Says what an event is, and notes it as taken if it is to be applied.
    pub fn admit(&mut self, event: &ReceivedEvent) -> Admission {
        let admission = self.check(event);
        if admission.is_to_be_applied() {
            self.take(event);
        }
        admission
    }

    /// As [`admit`](Self::admit), for an event without marks of which only this is known.
    pub fn admit_version(&mut self, key: &str, epoch: Epoch, version: u64) -> Admission {
        let admission = self.judge(key, Step { epoch, version, baseline: false, replay: false });
        if admission.is_to_be_applied() {
            self.put(key, epoch, version);
        }
        admission
    }

    /// Says what an event is.
    pub fn check(&self, event: &ReceivedEvent) -> Admission {
        let step = Step {
            epoch: event.epoch(),
            version: event.version(),
            baseline: event.is_baseline(),
            replay: event.is_replay(),
        };
        self.judge(event.key(), step)
    }

    /// Notes an event as taken, whatever it is. Nothing at or before it is new from now on.
    pub fn take(&mut self, event: &ReceivedEvent) {
        let now = (event.epoch(), event.version());
        if self.last(event.key()).is_none_or(|last| last < now) {
            self.put(event.key(), event.epoch(), event.version());
        }
    }

    /// The epoch and version of the last event taken of a key.
    pub fn last(&self, key: &str) -> Option<(Epoch, u64)> {
        self.keys.get(key).copied()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing was taken so far.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn judge(&self, key: &str, Step { epoch, version, baseline, replay }: Step) -> Admission {
        let last = self.last(key);
        let again = if replay { Admission::Replay } else { Admission::Duplicate };
        let expected = match last {
            Some(last) if (epoch, version) <= last => return again,
            Some((last, _)) if epoch > last && baseline => return Admission::Baseline,
            None if baseline => return Admission::Baseline,
            None if self.joins_midway => return Admission::New,
            Some((last_epoch, last)) if epoch == last_epoch => last.saturating_add(1),
            // In a new epoch a key begins with its baseline, or is new itself.
            Some(_) | None => 1,
        };
        if version == expected { Admission::New } else { Admission::Gap { expected, got: version } }
    }

    fn put(&mut self, key: &str, epoch: Epoch, version: u64) {
        match self.keys.get_mut(key) {
            Some(last) => *last = (epoch, version),
            None => {
                self.keys.insert(Box::from(key), (epoch, version));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Admission::{Baseline, Duplicate, Gap, New, Replay};
    use proptest::prelude::*;

    const E1: Epoch = Epoch::FIRST;
    const E2: Epoch = Epoch::new(2);

    fn after(taken: &[(Epoch, u64)]) -> Progress {
        let mut progress = Progress::new();
        for &(epoch, version) in taken {
            progress.put("a", epoch, version);
        }
        progress
    }

    fn marked(progress: &Progress, epoch: Epoch, version: u64, baseline: bool, replay: bool) -> Admission {
        progress.judge("a", Step { epoch, version, baseline, replay })
    }

    #[test]
    fn a_key_begins_at_version_1() {
        let mut progress = Progress::new();
        assert_eq!(progress.admit_version("a", E1, 2), Gap { expected: 1, got: 2 });
        assert_eq!(progress.admit_version("a", E1, 1), New);
        assert_eq!(progress.admit_version("b", E1, 1), New);
        assert_eq!(progress.last("a"), Some((E1, 1)));
    }

    #[test]
    fn who_joins_midway_takes_the_first_event_of_a_key_and_then_each_next_one() {
        let mut progress = Progress::joining_midway();
        assert_eq!(progress.admit_version("a", E1, 7), New);
        assert_eq!(progress.admit_version("a", E1, 9), Gap { expected: 8, got: 9 });
        assert_eq!(progress.admit_version("a", E1, 8), New);
    }

    #[test]
    fn a_gap_leaves_the_progress_where_it_was() {
        let mut progress = after(&[(E1, 3)]);
        assert_eq!(progress.admit_version("a", E1, 5), Gap { expected: 4, got: 5 });
        assert_eq!(progress.admit_version("a", E1, 4), New);
        assert_eq!(progress.admit_version("a", E1, 5), New);
    }

    #[test]
    fn a_new_epoch_begins_with_a_baseline_or_with_a_new_key() {
        let progress = after(&[(E1, 5)]);
        assert_eq!(marked(&progress, E2, 4, true, false), Baseline);
        assert_eq!(marked(&progress, E2, 6, false, false), Gap { expected: 1, got: 6 });
        assert_eq!(marked(&progress, E2, 1, false, false), New);
        assert_eq!(marked(&after(&[(E1, 5), (E2, 4)]), E2, 5, false, false), New);
    }

    #[test]
    fn what_is_of_an_epoch_that_is_over_is_a_duplicate() {
        assert_eq!(marked(&after(&[(E2, 4)]), E1, 9, false, false), Duplicate);
        assert_eq!(marked(&after(&[(E2, 4)]), E2, 4, true, false), Duplicate);
    }

    #[test]
    fn a_replay_of_what_was_taken_says_so_and_of_what_was_not_is_new() {
        assert_eq!(marked(&after(&[(E1, 4)]), E1, 2, false, true), Replay);
        assert_eq!(marked(&after(&[(E1, 4)]), E1, 5, false, true), New);
        assert_eq!(marked(&after(&[(E1, 4)]), E1, 7, false, true), Gap { expected: 5, got: 7 });
    }

    #[test]
    fn progress_reads_back_from_its_json() {
        let mut progress = Progress::joining_midway();
        progress.admit_version("a", E1, 7);
        let json = serde_json::to_string(&progress).expect("plain data");
        assert_eq!(serde_json::from_str::<Progress>(&json).expect("the same shape"), progress);
    }

    proptest! {
        #[test]
        fn each_version_is_taken_once_and_in_order_however_they_come(versions in proptest::collection::vec(1u64..12, 0..60)) {
            let mut progress = Progress::new();
            let mut taken = Vec::new();
            for version in versions {
                let last = taken.last().copied().unwrap_or(0);
                let expected = match version {
                    v if v <= last => Duplicate,
                    v if v == last + 1 => New,
                    v => Gap { expected: last + 1, got: v },
                };
                let admission = progress.admit_version("a", E1, version);
                prop_assert_eq!(admission, expected);
                if admission == New {
                    taken.push(version);
                }
            }
            prop_assert!(taken.iter().copied().eq(1..=taken.len() as u64));
        }
    }
}
