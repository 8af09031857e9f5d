//! Where a feed is in the log, and how a position says it.

use super::Lsn;
use crate::Position;

/// The letter of this kind of source in a position.
const KIND: char = 'l';

/// A place to start from: everything before it has been given.
///
/// As a position: the place in the log, then the number of changes of the transaction that commits there which have been
/// given, and as the tail the timeline, and the number of the part if a transaction was split there.
///
/// - `(end of a commit record, 0)` or `(place that the server has read, 0)`: between transactions. What commits later has
///   its commit record there or behind.
/// - `(begin of a commit record, n)`: within a transaction that was split, after its first n changes.
///
/// The change with index i of a transaction stands at `(begin of its commit record, i + 1)`, so that all of these sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lsn: Lsn,
    pub(super) changes: u64,
    pub(super) timeline: u32,
    /// How many parts of the transaction have been given; 0 between transactions.
    pub(super) parts: u32,
}

impl Place {
    /// Between transactions.
    pub(super) fn between(lsn: Lsn, timeline: u32) -> Self {
        Self { lsn, changes: 0, timeline, parts: 0 }
    }

    /// The position of this place; `start` takes it.
    pub(super) fn position(self) -> Position {
        let position = Position::new(KIND, self.lsn.as_u64(), self.changes);
        match self.parts {
            0 => position.with_tail(self.timeline.to_string()),
            parts => position.with_tail(format!("{}.{parts}", self.timeline)),
        }
    }

    /// The place that a position stands for; `None` if no source of this kind made it. The origin is no place: where a new
    /// feed begins, the slot decides.
    pub(super) fn from_position(position: &Position) -> Option<Self> {
        if position.kind() != Some(KIND) {
            return None;
        }
        let (timeline, parts) = match position.tail()?.split_once('.') {
            Some((timeline, parts)) => (timeline, parts.parse().ok()?),
            None => (position.tail()?, 0),
        };
        let (lsn, changes) = (Lsn::new(position.major()), position.minor());
        Some(Self { lsn, changes, timeline: timeline.parse().ok()?, parts })
    }

    /// Where a change stands.
    pub(super) fn of_change(commit: Lsn, index: u32) -> Position {
        Position::new(KIND, commit.as_u64(), u64::from(index) + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn changes_stand_between_the_end_before_and_the_end_behind() {
        let before = Place::between(Lsn::new(0x10), 1).position();
        let within = Place { lsn: Lsn::new(0x10), changes: 2, timeline: 1, parts: 1 }.position();
        let after = Place::between(Lsn::new(0x20), 1).position();
        let changes: Vec<_> = (0..3).map(|index| Place::of_change(Lsn::new(0x10), index)).collect();
        assert!(before < changes[0] && changes[0] < changes[1] && changes[1] <= within, "{changes:?}");
        assert!(within < changes[2] && changes[2] < after);
    }

    #[test]
    fn the_text_of_a_place_is_fixed() {
        assert_eq!(
            Place::between(Lsn::new(0x16_B374_D848), 3).position().to_string(),
            "1l-00000016b374d848-0000000000000000-3"
        );
        let within = Place { lsn: Lsn::new(1), changes: 12, timeline: 1, parts: 2 };
        assert_eq!(within.position().to_string(), "1l-0000000000000001-000000000000000c-1.2");
    }

    #[test]
    fn positions_of_others_are_no_place() {
        assert_eq!(Place::from_position(&Position::ORIGIN), None);
        assert_eq!(Place::from_position(&Position::new('p', 1, 2).with_tail("1")), None);
        assert_eq!(Place::from_position(&Position::new('l', 1, 2)), None);
        assert_eq!(Place::from_position(&Position::new('l', 1, 2).with_tail("x")), None);
    }

    proptest! {
        #[test]
        fn a_place_reads_back_from_its_text(lsn: u64, changes: u64, timeline: u32, parts: u32) {
            let place = Place { lsn: Lsn::new(lsn), changes, timeline, parts };
            let read_back: Position = place.position().to_string().parse().expect("a position");
            prop_assert_eq!(Place::from_position(&read_back), Some(place));
        }
    }
}
