//! What an event is to a consumer: new, a duplicate, after a gap.

use serde::{Deserialize, Serialize};

use super::event::ReceivedEvent;
use crate::feed::identity::Epoch;

/// The last event of a key that a consumer has taken. Its order is that of the events of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Taken {
    /// The feed's epoch.
    pub epoch: Epoch,
    /// The version of the aggregate.
    pub version: u64,
}

/// What an event is to a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// The next event of its key: take it.
    New,
    /// The state of its key at the beginning of an epoch: it replaces what the consumer knows of the key.
    Baseline,
    /// It was taken before, or belongs to an epoch that is over: pass it over.
    Duplicate,
    /// It was taken before, and an operator had it published again: take it if the consumer's
    /// effects can be repeated, and pass it over otherwise.
    Replay,
    /// Events of its key are missing before it: stop, or take it all the same. A consumer that passes it over is told
    /// the gap again with the next event of the key.
    Gap {
        /// The version that should have come.
        expected: u64,
        /// The version that came.
        got: u64,
    },
}

/// The first event that a consumer expects of a key that it does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FirstVersion {
    /// Version 1, or a baseline: the consumer reads the topic from its beginning.
    #[default]
    One,
    /// Any version: the consumer joins a topic midway.
    Any,
}

impl Admission {
    /// Classifies an event by the last one that was taken of its key. A projection calls it with the row that it has
    /// locked in the transaction of its effect.
    pub fn of(event: &ReceivedEvent, last: Option<Taken>, first: FirstVersion) -> Self {
        let step = Step { taken: Taken::from(event), baseline: event.is_baseline(), replay: event.is_replay() };
        step.admission(last, first)
    }

    /// Whether the consumer should apply the event: it is new, or a baseline.
    pub fn is_to_be_applied(self) -> bool {
        matches!(self, Self::New | Self::Baseline)
    }
}

impl From<&ReceivedEvent> for Taken {
    fn from(event: &ReceivedEvent) -> Self {
        Self { epoch: event.epoch(), version: event.version() }
    }
}

/// What of an event decides on its admission.
#[derive(Clone, Copy)]
struct Step {
    taken: Taken,
    baseline: bool,
    replay: bool,
}

impl Step {
    fn admission(self, last: Option<Taken>, first: FirstVersion) -> Admission {
        let Self { taken: now, baseline, replay } = self;
        let expected = match last {
            Some(last) if now <= last && replay => return Admission::Replay,
            Some(last) if now <= last => return Admission::Duplicate,
            _ if baseline => return Admission::Baseline,
            None if first == FirstVersion::Any => return Admission::New,
            Some(last) if now.epoch == last.epoch => last.version.saturating_add(1),
            // In a new epoch a key begins with its baseline, or is new itself.
            Some(_) | None => 1,
        };
        if now.version == expected { Admission::New } else { Admission::Gap { expected, got: now.version } }
    }
}

#[cfg(test)]
mod tests {
    use Admission::{Baseline, Duplicate, Gap, New, Replay};
    use proptest::prelude::*;

    use super::*;

    fn at(epoch: u32, version: u64) -> Taken {
        Taken { epoch: Epoch::new(epoch), version }
    }

    fn plain(taken: Taken) -> Step {
        Step { taken, baseline: false, replay: false }
    }

    fn baseline(taken: Taken) -> Step {
        Step { baseline: true, ..plain(taken) }
    }

    fn replay(taken: Taken) -> Step {
        Step { replay: true, ..plain(taken) }
    }

    fn after(last: Taken, step: Step) -> Admission {
        step.admission(Some(last), FirstVersion::One)
    }

    #[test]
    fn a_baseline_bridges_the_versions_that_have_no_event() {
        assert_eq!(after(at(1, 3), baseline(at(1, 7))), Baseline);
        assert_eq!(after(at(1, 7), baseline(at(1, 7))), Duplicate);
    }

    #[test]
    fn a_key_begins_at_version_1_or_with_its_baseline() {
        let first = |step: Step| step.admission(None, FirstVersion::One);
        assert_eq!(first(plain(at(1, 2))), Gap { expected: 1, got: 2 });
        assert_eq!(first(plain(at(1, 1))), New);
        assert_eq!(first(baseline(at(1, 7))), Baseline);
        assert_eq!(first(replay(at(1, 1))), New);
    }

    #[test]
    fn a_consumer_that_joins_midway_takes_any_first_event_and_then_each_next_one() {
        assert_eq!(plain(at(1, 7)).admission(None, FirstVersion::Any), New);
        let then = |version| plain(at(1, version)).admission(Some(at(1, 7)), FirstVersion::Any);
        assert_eq!((then(9), then(8), then(7)), (Gap { expected: 8, got: 9 }, New, Duplicate));
    }

    #[test]
    fn a_new_epoch_begins_with_a_baseline_or_with_a_new_key() {
        let last = at(1, 5);
        assert_eq!(after(last, baseline(at(2, 4))), Baseline);
        assert_eq!(after(last, plain(at(2, 6))), Gap { expected: 1, got: 6 });
        assert_eq!(after(last, plain(at(2, 1))), New);
        assert_eq!(after(at(2, 4), plain(at(2, 5))), New);
    }

    #[test]
    fn an_event_of_an_epoch_that_is_over_is_a_duplicate() {
        assert_eq!(after(at(2, 4), plain(at(1, 9))), Duplicate);
        assert_eq!(after(at(2, 4), baseline(at(2, 4))), Duplicate);
        assert_eq!(after(at(2, 4), baseline(at(1, 9))), Duplicate);
    }

    #[test]
    fn a_replay_of_what_was_taken_is_a_replay_and_of_anything_else_an_event() {
        assert_eq!(after(at(1, 4), replay(at(1, 2))), Replay);
        assert_eq!(after(at(1, 4), replay(at(1, 5))), New);
        assert_eq!(after(at(1, 4), replay(at(1, 7))), Gap { expected: 5, got: 7 });
    }

    proptest! {
        #[test]
        fn each_version_is_applied_once_and_in_order_however_they_come(versions in proptest::collection::vec(1u64..12, 0..60)) {
            let mut applied: Vec<u64> = Vec::new();
            for version in versions {
                let last = applied.last().copied();
                let expected = match (version, last.unwrap_or(0)) {
                    (version, last) if version <= last => Duplicate,
                    (version, last) if version == last + 1 => New,
                    (version, last) => Gap { expected: last + 1, got: version },
                };
                let admission = plain(at(1, version)).admission(last.map(|last| at(1, last)), FirstVersion::One);
                prop_assert_eq!(admission, expected);
                if admission.is_to_be_applied() {
                    applied.push(version);
                }
            }
            prop_assert!(applied.iter().copied().eq(1..=applied.len() as u64));
        }
    }
}
