//! What identifies a change.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::event::EventId;
use super::position::Position;

/// What identifies a change among all of its feed and epoch, wherever the run began that gave it: a change that comes
/// twice has the same.
///
/// For an event that is its own id, across epochs too. A row has no id of its own: its change is identified by its place
/// in the source, which is the place of the commit and its number in the transaction. A row of a snapshot is identified
/// by its place in the chunk: where a chunk is read again, after a crash, its rows have other ids. On the wire it is in
/// the headers `ce_id` or `feed_position`.
///
/// # Text form
///
/// A UUID, or two words of sixteen hexadecimal digits.
///
/// ```
/// use change_feed::{ChangeId, Position};
///
/// let id = ChangeId::row(&Position::new('l', 42, 7));
/// assert_eq!(id.to_string(), "000000000000002a-0000000000000007");
/// assert_eq!(id.to_string().parse::<ChangeId>()?, id);
/// # Ok::<(), change_feed::feed::InvalidChangeId>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(Id);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Id {
    Event(EventId),
    Row { commit: u64, number: u64 },
}

impl ChangeId {
    /// Of the change that is this event.
    pub const fn event(id: EventId) -> Self {
        Self(Id::Event(id))
    }

    /// Of the change of a row at this position.
    pub fn row(position: &Position) -> Self {
        Self(Id::Row { commit: position.major(), number: position.minor() })
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Event(id) => id.fmt(f),
            Id::Row { commit, number } => write!(f, "{commit:016x}-{number:016x}"),
        }
    }
}

/// A text that identifies no change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the id of a change")]
pub struct InvalidChangeId {
    text: String,
}

impl FromStr for ChangeId {
    type Err = InvalidChangeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = match Uuid::try_parse(text) {
            Ok(id) => Some(Self::event(EventId::new(id))),
            Err(_) => row(text),
        };
        // Another spelling of the same id is none: equal ids have equal texts.
        let id = id.filter(|id| id.to_string() == text);
        id.ok_or_else(|| InvalidChangeId { text: text.chars().take(80).collect() })
    }
}

fn row(text: &str) -> Option<ChangeId> {
    let (commit, number) = text.split_once('-')?;
    let word = |text| u64::from_str_radix(text, 16).ok();
    Some(ChangeId(Id::Row { commit: word(commit)?, number: word(number)? }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_reads_back_from_its_text(commit: u64, number: u64, event: u128) {
            for id in [
                ChangeId::row(&Position::new('l', commit, number).with_tail("1")),
                ChangeId::event(EventId::new(Uuid::from_u128(event))),
            ] {
                prop_assert_eq!(id.to_string().parse::<ChangeId>(), Ok(id));
            }
        }

        #[test]
        fn any_text_is_read_as_it_is_or_refused(text in "[0-9a-fA-F+-]{0,40}") {
            if let Ok(id) = text.parse::<ChangeId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
