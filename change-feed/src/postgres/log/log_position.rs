//! A place in the log where a feed can start, and its form as a position.

use crate::feed::position::Position;
use postgres_replication::Lsn;

/// The letter of this kind of source in a position.
const KIND: char = 'l';

/// A place to start from: everything before it has been given.
///
/// As a position: the place in the log, then the number of changes of the transaction that commits there which have been
/// given, and as the tail the timeline, and if a transaction was split there the number of the part and a checksum of what
/// was captured: changes are counted, so their number means nothing to a feed of other tables.
///
/// - `(end of a commit record, 0)` or `(place that the server has read, 0)`: between transactions. What commits later has
///   its commit record there or later.
/// - `(begin of a commit record, change n)`: within a transaction that was split, after its first n changes.
///
/// The changes of a transaction stand at the begin of its commit record, as [`Position::change`] numbers them. The commit
/// before may end at the same place: there is room for chunks between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogPosition {
    pub(super) lsn: Lsn,
    pub(super) changes: u64,
    pub(super) timeline: u32,
    /// How many parts of the transaction have been given; 0 between transactions.
    pub(super) parts: u32,
    /// The [checksum](checksum) of what was captured when the transaction was split; `None` between transactions, and where
    /// nobody has noted it.
    pub(super) captured: Option<u32>,
}

/// A checksum of the tables that are captured, by their object ids, and of the prefix of messages.
pub(super) fn checksum(tables: impl IntoIterator<Item = u32>, messages: Option<&str>) -> u32 {
    let mut tables: Vec<u32> = tables.into_iter().collect();
    tables.sort_unstable();
    let mut sum = crc32fast::Hasher::new();
    tables.iter().for_each(|oid| sum.update(&oid.to_be_bytes()));
    sum.update(messages.unwrap_or_default().as_bytes());
    sum.finalize()
}

impl LogPosition {
    /// Between transactions.
    pub(super) fn between(lsn: Lsn, timeline: u32) -> Self {
        Self { lsn, changes: 0, timeline, parts: 0, captured: None }
    }

    /// The position of this place; `start` takes it.
    pub(super) fn position(self) -> Position {
        let position = match self.changes.checked_sub(1) {
            None => Position::new(KIND, self.lsn.as_u64(), 0),
            Some(last) => Position::change(KIND, self.lsn.as_u64(), last),
        };
        position.with_tail(match (self.parts, self.captured) {
            (0, _) => self.timeline.to_string(),
            (parts, None) => format!("{}.{parts}", self.timeline),
            (parts, Some(captured)) => format!("{}.{parts}.{captured:08x}", self.timeline),
        })
    }

    /// The place that a position means; `None` if no source of this kind made it. The origin has no place: the slot decides
    /// where a new feed begins.
    pub(super) fn from_position(position: &Position) -> Option<Self> {
        if position.kind() != Some(KIND) {
            return None;
        }
        let mut tail = position.tail()?.split('.');
        let timeline = tail.next()?.parse().ok()?;
        let parts = tail.next().map_or(Ok(0), str::parse).ok()?;
        let captured = tail.next().map(|sum| u32::from_str_radix(sum, 16)).transpose().ok()?;
        let changes = match position.minor() {
            0 => 0,
            _ => position.changes()?,
        };
        let lsn = Lsn::new(position.major());
        Some(Self { lsn, changes, timeline, parts, captured })
    }

    /// The position of a change.
    pub(super) fn of_change(commit: Lsn, index: u32) -> Position {
        Position::change(KIND, commit.as_u64(), u64::from(index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn changes_are_between_the_end_before_and_the_end_after() {
        let before = LogPosition::between(Lsn::new(0x10), 1).position();
        let within =
            LogPosition { lsn: Lsn::new(0x10), changes: 2, timeline: 1, parts: 1, captured: Some(7) }.position();
        let after = LogPosition::between(Lsn::new(0x20), 1).position();
        let changes: Vec<_> = (0..3).map(|index| LogPosition::of_change(Lsn::new(0x10), index)).collect();
        assert!(before < changes[0] && changes[0] < changes[1] && changes[1] <= within, "{changes:?}");
        assert!(within < changes[2] && changes[2] < after);
    }

    #[test]
    fn the_text_of_a_place_is_fixed() {
        assert_eq!(
            LogPosition::between(Lsn::new(0x16_B374_D848), 3).position().to_string(),
            "1l-00000016b374d848-0000000000000000-3"
        );
        let within = LogPosition { lsn: Lsn::new(1), changes: 12, timeline: 1, parts: 2, captured: None };
        assert_eq!(within.position().to_string(), "1l-0000000000000001-800000000000000c-1.2");
        let noted = LogPosition { captured: Some(0xbeef), ..within };
        assert_eq!(noted.position().to_string(), "1l-0000000000000001-800000000000000c-1.2.0000beef");
    }

    #[test]
    fn the_checksum_is_that_of_what_is_captured_in_whatever_order() {
        let sum = checksum([16_384, 16_390], Some("orders"));
        assert_eq!(sum, checksum([16_390, 16_384], Some("orders")));
        for other in [checksum([16_384], Some("orders")), checksum([16_384, 16_390], None), checksum([], None)] {
            assert_ne!(sum, other);
        }
    }

    #[test]
    fn positions_of_others_are_no_place() {
        assert_eq!(LogPosition::from_position(&Position::ORIGIN), None);
        assert_eq!(LogPosition::from_position(&Position::new('p', 1, 2).with_tail("1")), None);
        assert_eq!(LogPosition::from_position(&Position::new('l', 1, 2)), None);
        assert_eq!(LogPosition::from_position(&Position::new('l', 1, 2).with_tail("x")), None);
    }

    proptest! {
        #[test]
        fn a_place_reads_back_from_its_text(lsn: u64, changes in 0_u64..1 << 62, timeline: u32, parts: u32, sum: Option<u32>) {
            let captured = sum.filter(|_| parts > 0);
            let place = LogPosition { lsn: Lsn::new(lsn), changes, timeline, parts, captured };
            let read_back: Position = place.position().to_string().parse().expect("a position");
            prop_assert_eq!(LogPosition::from_position(&read_back), Some(place));
        }
    }
}
