//! Where a feed is in its source.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of the text form that this crate writes.
const FORMAT: char = '1';
/// The text of [`Position::ORIGIN`]; sorts before every other position.
const ORIGIN: &str = "0";

/// The minor word after which the changes of a transaction stand.
const BEFORE_CHANGES: u64 = 1 << 63;

/// A place in a source: everything at or before it has been captured.
///
/// A position is opaque to everybody but the source that made it. Positions of one feed and
/// epoch are totally ordered by their two words, and their text sorts as they do, byte by byte.
/// Only a complete end ([`End::Complete`](crate::feed::part::End::Complete)) is a place to start from; only
/// such positions carry a tail, and no two of them have the same words.
///
/// # Places at one major word
///
/// A source that reads rows beside its stream (a snapshot, a baseline) gives them in *chunks*, each of which ends at a
/// place to start from: after the complete end that the stream has reached, and before the changes that follow it. So
/// that there is room for them, such a source divides the minor word:
///
/// | minor word | what stands there |
/// | --- | --- |
/// | 0 | the end of a transaction ([`Position::new`]) |
/// | 1 to 2⁶³ - 1 | the rows of chunks in their order, each chunk ending at its last row ([`Position::chunk`]) |
/// | from 2⁶³ on | the changes of a transaction in their order ([`Position::change`]) |
///
/// Any other source may use the minor word as it likes.
///
/// # Text form
///
/// `0` is the origin. Every other position is the format's version (`1`), a letter for the kind
/// of source, two words of sixteen hexadecimal digits, and an optional tail of the source's own:
/// `1s-000000000000002a-0000000000000000` or `1p-…-…-tail`.
///
/// ```
/// use change_feed::Position;
///
/// let position = Position::new('s', 42, 0);
/// assert_eq!(position.to_string(), "1s-000000000000002a-0000000000000000");
/// assert_eq!(position.to_string().parse::<Position>()?, position);
/// assert!(Position::ORIGIN < position);
/// # Ok::<(), change_feed::InvalidPosition>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(Option<Place>);

/// The derived order is the order of the text: the fields stand as they are written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    kind: char,
    major: u64,
    minor: u64,
    tail: Option<Arc<str>>,
}

impl Position {
    /// Before the first change of a source.
    pub const ORIGIN: Position = Position(None);

    /// A position of a source of `kind` (an ASCII letter that belongs to the source's
    /// implementation), ordered by `major` and then by `minor`.
    ///
    /// # Panics
    ///
    /// If `kind` is not an ASCII letter: its text could not be read back.
    pub const fn new(kind: char, major: u64, minor: u64) -> Self {
        assert!(kind.is_ascii_alphabetic(), "the kind of a position is an ASCII letter");
        Self(Some(Place { kind, major, minor, tail: None }))
    }

    /// The position of row `number` (1, 2, 3 …) of the chunks at this major word.
    ///
    /// # Panics
    ///
    /// If the number is 0 or 2⁶³ and more, or the kind is not an ASCII letter.
    pub const fn chunk(kind: char, major: u64, number: u64) -> Self {
        assert!(number != 0 && number < BEFORE_CHANGES, "rows of chunks are numbered from 1 to 2^63 - 1");
        Self::new(kind, major, number)
    }

    /// The position of change `index` (0, 1, 2 …) of the transaction at this major word.
    ///
    /// # Panics
    ///
    /// If the index is 2⁶³ - 1 or more, or the kind is not an ASCII letter.
    pub const fn change(kind: char, major: u64, index: u64) -> Self {
        assert!(index < BEFORE_CHANGES - 1, "a transaction has fewer than 2^63 changes");
        Self::new(kind, major, BEFORE_CHANGES + 1 + index)
    }

    /// The number of the row of a [chunk](Position::chunk) at this place; `None` at any other place.
    pub fn chunk_row(&self) -> Option<u64> {
        Some(self.minor()).filter(|minor| (1..BEFORE_CHANGES).contains(minor))
    }

    /// The number of a transaction's changes through this place, which is that of a [change](Position::change); `None`
    /// at any other place.
    pub fn changes(&self) -> Option<u64> {
        self.minor().checked_sub(BEFORE_CHANGES).filter(|changes| *changes > 0)
    }

    /// The same position with what the source needs beside the two words to start there again:
    /// printable ASCII without spaces, since it becomes part of the text.
    ///
    /// # Panics
    ///
    /// If the tail holds anything else, or if this is the origin, which has no tail.
    #[must_use]
    pub fn with_tail(self, tail: impl Into<Arc<str>>) -> Self {
        let tail = tail.into();
        assert!(tail.bytes().all(|b| b.is_ascii_graphic()), "the tail of a position is printable ASCII");
        assert!(!self.is_origin(), "the origin has no tail");
        Self(self.0.map(|place| Place { tail: Some(tail), ..place }))
    }

    /// Whether this is [`Position::ORIGIN`].
    pub const fn is_origin(&self) -> bool {
        self.0.is_none()
    }

    /// The letter of the kind of source that made this position; `None` at the origin.
    pub fn kind(&self) -> Option<char> {
        self.0.as_ref().map(|place| place.kind)
    }

    /// The first word; 0 at the origin.
    pub fn major(&self) -> u64 {
        self.0.as_ref().map_or(0, |place| place.major)
    }

    /// The second word; 0 at the origin.
    pub fn minor(&self) -> u64 {
        self.0.as_ref().map_or(0, |place| place.minor)
    }

    /// The source's own addition, if there is one.
    pub fn tail(&self) -> Option<&str> {
        self.0.as_ref()?.tail.as_deref()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.0 else {
            return f.write_str(ORIGIN);
        };
        // Every envelope bears its position: the machinery of formats is the dearest part of writing it.
        f.write_char(FORMAT)?;
        f.write_char(place.kind)?;
        for word in [place.major, place.minor] {
            let digits = hexadecimal(word);
            f.write_char('-')?;
            f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)?;
        }
        if let Some(tail) = &place.tail {
            f.write_char('-')?;
            f.write_str(tail)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({self})")
    }
}

/// A text that is not a position, or one of a format that this version doesn't know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a position that this version of change-feed can read")]
pub struct InvalidPosition {
    text: String,
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == ORIGIN {
            return Ok(Self::ORIGIN);
        }
        parse(text)
            .map(|place| Self(Some(place)))
            .ok_or_else(|| InvalidPosition { text: text.chars().take(120).collect() })
    }
}

fn parse(text: &str) -> Option<Place> {
    let mut fields = text.splitn(4, '-');
    let mut head = fields.next()?.chars();
    let (format, kind) = (head.next()?, head.next()?);
    if format != FORMAT || !kind.is_ascii_alphabetic() || head.next().is_some() {
        return None;
    }
    let major = word(fields.next()?)?;
    let minor = word(fields.next()?)?;
    Some(Place { kind, major, minor, tail: fields.next().map(Arc::from) })
}

/// Sixteen lower-case hexadecimal digits, and no other spelling of them: equal text, equal position.
fn word(text: &str) -> Option<u64> {
    let canonical = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    canonical.then(|| u64::from_str_radix(text, 16).ok())?
}

/// The spelling that [`word`] reads.
fn hexadecimal(word: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 16];
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = DIGITS[usize::try_from(word >> (4 * place) & 0xf).unwrap_or(0)];
    }
    digits
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_position() -> impl Strategy<Value = Position> {
        let tail = proptest::option::of("[a-z0-9:,-]{0,12}");
        prop_oneof![
            1 => Just(Position::ORIGIN),
            9 => ("[a-z]", any::<u64>(), any::<u64>(), tail).prop_map(|(kind, major, minor, tail)| {
                let position = Position::new(kind.as_bytes()[0] as char, major % 20, minor % 20);
                match tail {
                    Some(tail) => position.with_tail(tail),
                    None => position,
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn the_text_reads_back_as_the_same_position(position in any_position()) {
            prop_assert_eq!(position.to_string().parse::<Position>(), Ok(position));
        }

        #[test]
        fn the_text_sorts_as_the_positions_do(a in any_position(), b in any_position()) {
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn chunks_stand_between_a_complete_end_and_the_changes_that_follow_it(
            major: u64, rows in 1_u64..BEFORE_CHANGES, index in 0..BEFORE_CHANGES - 1,
        ) {
            let end = Position::new('l', major, 0).with_tail("1");
            let first = Position::chunk('l', major, 1).with_tail("a");
            let chunk = Position::chunk('l', major, rows);
            let change = Position::change('l', major, 0);
            prop_assert!(end < first && (rows == 1 || first < chunk) && chunk < change);
            prop_assert!(change <= Position::change('l', major, index));
            prop_assert_eq!((end.chunk_row(), chunk.chunk_row(), change.chunk_row()), (None, Some(rows), None));
            let changes = Position::change('l', major, index).changes();
            prop_assert_eq!((end.changes(), chunk.changes(), changes), (None, None, Some(index + 1)));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,60}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }
}
