//! A change's place in its database transaction.

use std::fmt;
use std::sync::Arc;

/// The database's own id of a transaction, as text: PostgreSQL's `xid8`, MySQL's GTID, Spanner's transaction id.
///
/// Ids are compared by their text, and mean nothing outside of their database. Cloning is cheap, and a decimal number
/// takes no memory of its own.
///
/// ```
/// use change_feed::TransactionId;
///
/// assert_eq!(TransactionId::from(731), TransactionId::from("731"));
/// assert_eq!(TransactionId::from("3e11fa47:23").to_string(), "3e11fa47:23");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TransactionId(Id);

/// Each text has one form, so that equal texts are equal ids: a decimal number that reads back as the same text is a
/// `Number`, everything else a `Text`.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Id {
    Number(u64),
    Text(Arc<str>),
}

impl From<u64> for TransactionId {
    fn from(number: u64) -> Self {
        Self(Id::Number(number))
    }
}

impl From<&str> for TransactionId {
    fn from(text: &str) -> Self {
        let is_canonical = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
        match text.parse() {
            Ok(number) if is_canonical => Self(Id::Number(number)),
            _ => Self(Id::Text(Arc::from(text))),
        }
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Number(number) => number.fmt(f),
            Id::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransactionId({self})")
    }
}

/// The place of a change in its database transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionPlace {
    /// The database's id of the transaction.
    pub id: TransactionId,
    /// 0 for the transaction's first change.
    pub index: u32,
    /// The number of changes that were captured of the transaction; only on its last one.
    pub count: Option<u32>,
    /// On the last change of each part but the last of a transaction that is published in parts, since it is too
    /// large or takes too long for one: 1 for the first part.
    pub part: Option<u32>,
}

impl TransactionPlace {
    /// The place of a change that is not the transaction's last, or not known to be.
    pub fn new(id: impl Into<TransactionId>, index: u32) -> Self {
        Self { id: id.into(), index, count: None, part: None }
    }

    /// The place of the last change of a transaction of `count` changes.
    pub fn last(id: impl Into<TransactionId>, count: u32) -> Self {
        Self { id: id.into(), index: count.saturating_sub(1), count: Some(count), part: None }
    }

    /// The same place, as the last one of this part of a transaction that is published in parts.
    #[must_use]
    pub fn ending_part(self, part: u32) -> Self {
        Self { part: Some(part), ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_are_equal_exactly_if_their_texts_are(a in "[0+]{0,2}[0-9]{0,21}", b in "[0+]{0,2}[0-9]{0,21}") {
            let (one, other) = (TransactionId::from(a.as_str()), TransactionId::from(b.as_str()));
            prop_assert_eq!(one.to_string(), a.clone());
            prop_assert_eq!(one == other, a == b);
        }

        #[test]
        fn a_number_is_the_same_id_as_its_text(number: u64) {
            prop_assert_eq!(TransactionId::from(number), TransactionId::from(number.to_string().as_str()));
        }
    }

    #[test]
    fn an_id_takes_no_more_room_than_a_text() {
        assert_eq!(size_of::<TransactionId>(), size_of::<Arc<str>>());
    }
}
