//! The progress of a poller, and its form as a position.

use std::fmt;

use crate::feed::event::EventId;
use crate::feed::position::Position;

use super::snapshot::Snapshot;

/// The letter of this kind of source in a position.
const KIND: char = 'p';
/// The second word of a position at the end of a window.
const WINDOW_DONE: u64 = u64::MAX;

/// The progress of a poller.
///
/// As a position: the window's number, then the last sequence given in it, and as the tail what it takes to go on in
/// another process: `old/target/anchor` within a window, `seen/anchor` between two. The snapshots see no
/// transaction above the highest of which a row was given: see [`Snapshot::through`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PollProgress {
    /// Everything that `seen` sees has been given; the last of it was window `window`.
    Between { window: u64, seen: Snapshot, anchor: Option<Anchor> },
    /// Of window `window`, what `target` sees and `old` doesn't, everything through sequence `through` has been given.
    Within { window: u64, through: u64, old: Snapshot, target: Snapshot, anchor: Option<Anchor> },
}

/// The last event that was given: another history has another event in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) sequence: u64,
    /// The last 64 bits of the event's id: random ones, in a UUID of version 4 or 7.
    pub(super) event_bits: u64,
}

impl Anchor {
    pub(super) fn new(sequence: u64, event_id: EventId) -> Self {
        Self { sequence, event_bits: event_id.as_uuid().as_u64_pair().1 }
    }

    fn parse(text: &str) -> Option<Self> {
        let (sequence, event_bits) = text.split_once('.')?;
        Some(Self { sequence: sequence.parse().ok()?, event_bits: u64::from_str_radix(event_bits, 16).ok()? })
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}", self.sequence, self.event_bits)
    }
}

impl PollProgress {
    pub(super) const ORIGIN: PollProgress = PollProgress::Between { window: 0, seen: Snapshot::NOTHING, anchor: None };

    /// The position of this progress; `start` takes it.
    pub(super) fn position(&self) -> Position {
        let (position, snapshots, anchor) = match self {
            Self::Between { window, seen, anchor } => {
                (Position::new(KIND, *window, WINDOW_DONE), seen.to_string(), anchor)
            }
            Self::Within { window, through, old, target, anchor } => {
                (Position::new(KIND, *window, *through), format!("{old}/{target}"), anchor)
            }
        };
        match anchor {
            Some(anchor) => position.with_tail(format!("{snapshots}/{anchor}")),
            None => position.with_tail(format!("{snapshots}/")),
        }
    }

    /// The progress that a position means; `None` if no poller of this kind made it.
    pub(super) fn from_position(position: &Position) -> Option<Self> {
        if position.is_origin() {
            return Some(Self::ORIGIN);
        }
        if position.kind() != Some(KIND) {
            return None;
        }
        let (snapshots, anchor) = position.tail()?.rsplit_once('/')?;
        let anchor = if anchor.is_empty() { None } else { Some(Anchor::parse(anchor)?) };
        let window = position.major();
        if position.minor() == WINDOW_DONE {
            let seen = snapshots.parse().ok()?;
            return Some(Self::Between { window, seen, anchor });
        }
        let (old, target) = snapshots.split_once('/')?;
        let (old, target) = (old.parse().ok()?, target.parse().ok()?);
        Some(Self::Within { window, through: position.minor(), old, target, anchor })
    }

    /// The newest snapshot that this progress rests on.
    pub(super) fn newest(&self) -> &Snapshot {
        match self {
            Self::Between { seen, .. } => seen,
            Self::Within { target, .. } => target,
        }
    }

    /// The snapshot of which everything has been given.
    pub(super) fn given(&self) -> &Snapshot {
        match self {
            Self::Between { seen, .. } => seen,
            Self::Within { old, .. } => old,
        }
    }

    pub(super) fn anchor(&self) -> Option<Anchor> {
        match self {
            Self::Between { anchor, .. } | Self::Within { anchor, .. } => *anchor,
        }
    }
}

/// The place of one change: in which window, with which sequence.
pub(super) fn change_position(window: u64, sequence: u64) -> Position {
    Position::new(KIND, window, sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANCHOR: Option<Anchor> = Some(Anchor { sequence: 42, event_bits: 0x8000_0000_0000_0001 });

    fn snapshot(text: &str) -> Snapshot {
        text.parse().expect("well formed")
    }

    fn between(window: u64) -> PollProgress {
        PollProgress::Between { window, seen: snapshot("10:20:10,14"), anchor: ANCHOR }
    }

    fn within(window: u64, through: u64) -> PollProgress {
        let (old, target) = (snapshot("10:20:10,14"), snapshot("14:30:14,21"));
        PollProgress::Within { window, through, old, target, anchor: ANCHOR }
    }

    #[test]
    fn progress_reads_back_from_the_text_of_its_position() {
        for progress in [PollProgress::ORIGIN, between(7), within(8, 42)] {
            let text = progress.position().to_string();
            let position: Position = text.parse().expect("our own text");
            assert_eq!(PollProgress::from_position(&position), Some(progress), "{text}");
        }
        assert_eq!(PollProgress::from_position(&Position::ORIGIN), Some(PollProgress::ORIGIN));
    }

    #[test]
    fn positions_are_ordered_as_the_poller_advances() {
        let positions = [
            Position::ORIGIN,
            between(1).position(),
            change_position(2, 5),
            within(2, 5).position(),
            change_position(2, 6),
            between(2).position(),
            change_position(3, 1),
        ];
        assert!(positions.is_sorted(), "{positions:?}");
    }

    #[test]
    fn a_position_of_another_source_is_no_progress() {
        let foreign = [
            Position::new('s', 1, 0),
            Position::new('p', 1, 2),
            Position::new('p', 1, 2).with_tail("10:20:/5.1"),
            Position::new('p', 1, u64::MAX).with_tail("10:20:/nonsense"),
            Position::new('p', 1, u64::MAX).with_tail("nonsense/5.1"),
        ];
        for position in foreign {
            assert_eq!(PollProgress::from_position(&position), None, "{position}");
        }
    }
}
