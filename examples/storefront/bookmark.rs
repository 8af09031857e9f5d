//! A place in the topic, as text: the id of a server-sent event.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// How far each partition of a topic has been read.
///
/// Every storefront reads the partitions side by side and mixes them in its own way, so one offset or one number would
/// not say what a client has seen. All partitions' offsets do, at any storefront.
///
/// Text: what tells the topic from a namesake, and the next offset of each partition that has one above zero:
/// `6f1c-0:14-7:3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bookmark {
    /// Tells the cluster and the topic: a development broker begins anew with each start of the program.
    log: String,
    next_offsets: BTreeMap<u32, u64>,
}

/// More partitions than any topic has that one storefront reads.
const PARTITIONS_MAX: usize = 10_000;

impl Bookmark {
    /// Before the first event.
    pub(crate) fn at_the_beginning_of(log: &str) -> Self {
        Self { log: log.to_owned(), next_offsets: BTreeMap::new() }
    }

    /// What tells the cluster and the topic.
    pub(crate) fn log(&self) -> &str {
        &self.log
    }

    /// Whether this place is in the same topic on the same cluster.
    pub(crate) fn is_of(&self, log: &str) -> bool {
        self.log == log
    }

    /// The next offset of a partition.
    pub(crate) fn next_offset(&self, partition: u32) -> u64 {
        self.next_offsets.get(&partition).copied().unwrap_or(0)
    }

    /// The partitions that have been read, each with its next offset.
    pub(crate) fn next_offsets(&self) -> impl Iterator<Item = (u32, u64)> {
        self.next_offsets.iter().map(|(&partition, &offset)| (partition, offset))
    }

    /// Moves a partition forward, never back.
    pub(crate) fn advance(&mut self, partition: u32, next_offset: u64) {
        if next_offset > self.next_offset(partition) {
            self.next_offsets.insert(partition, next_offset);
        }
    }

    /// Moves each partition forward to where `other` is, if that is further.
    pub(crate) fn advance_to(&mut self, other: &Self) {
        for (partition, next_offset) in other.next_offsets() {
            self.advance(partition, next_offset);
        }
    }

    /// Whether the record at this place of the topic has been read.
    pub(crate) fn is_past(&self, partition: u32, offset: u64) -> bool {
        offset < self.next_offset(partition)
    }

    /// Whether everything before `other` has been read.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.next_offsets().all(|(partition, next_offset)| self.next_offset(partition) >= next_offset)
    }
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.log)?;
        for (partition, next_offset) in self.next_offsets() {
            f.write_char('-')?;
            write!(f, "{partition}:{next_offset}")?;
        }
        Ok(())
    }
}

/// A text that is not a bookmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is the id of an event that this stream gave before")]
pub(crate) struct InvalidBookmark;

impl FromStr for Bookmark {
    type Err = InvalidBookmark;

    fn from_str(text: &str) -> Result<Self, InvalidBookmark> {
        let mut fields = text.split('-');
        let log = fields.next().filter(|log| !log.is_empty() && log.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let mut bookmark = Self::at_the_beginning_of(log.ok_or(InvalidBookmark)?);
        for field in fields {
            let (partition, next_offset) = field.split_once(':').ok_or(InvalidBookmark)?;
            let partition = partition.parse().map_err(|_| InvalidBookmark)?;
            bookmark.advance(partition, next_offset.parse().map_err(|_| InvalidBookmark)?);
            if bookmark.next_offsets.len() > PARTITIONS_MAX {
                return Err(InvalidBookmark);
            }
        }
        Ok(bookmark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_reads_back_as_the_same_place() {
        let mut bookmark = Bookmark::at_the_beginning_of("6f1c");
        for (partition, next_offset) in [(7, 3), (0, 14), (11, u64::MAX)] {
            bookmark.advance(partition, next_offset);
        }
        assert_eq!(bookmark.to_string(), "6f1c-0:14-7:3-11:18446744073709551615");
        assert_eq!(bookmark.to_string().parse(), Ok(bookmark));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "-", "a b", "a-", "a-1", "a-1:", "a-:1", "a-1:x", "a-1:-1", "a:1", "a-4294967296:1", "é"] {
            assert_eq!(text.parse::<Bookmark>(), Err(InvalidBookmark), "{text}");
        }
    }

    #[test]
    fn a_place_only_moves_forward() {
        let mut bookmark = Bookmark::at_the_beginning_of("a");
        bookmark.advance(1, 5);
        bookmark.advance(1, 4);
        assert!(bookmark.is_past(1, 4) && !bookmark.is_past(1, 5) && !bookmark.is_past(2, 0));
        let mut other = Bookmark::at_the_beginning_of("a");
        other.advance(1, 2);
        other.advance(3, 9);
        assert!(!bookmark.covers(&other) && !other.covers(&bookmark));
        bookmark.advance_to(&other);
        assert_eq!((bookmark.next_offset(1), bookmark.next_offset(3)), (5, 9));
        assert!(bookmark.covers(&other));
    }
}
