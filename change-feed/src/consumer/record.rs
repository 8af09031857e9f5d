//! A record of a topic, and why it may not be an event of a feed.

use std::sync::Arc;

/// A record of a topic, as any client library gives it: the input of
/// [`ReceivedEvent::parse`](super::ReceivedEvent::parse).
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// The offset in the partition.
    pub offset: u64,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The headers, in the order of the record.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// The payload; `None` is a tombstone, which is not the same as a payload of zero length.
    pub payload: Option<&'a [u8]>,
}

/// A record that is not an event of a feed.
///
/// It has the record's place and the problem, and nothing of its contents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record at {partition}/{offset} of {topic:?} is not an event of a feed: {problem}")]
pub struct RecordError {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// The offset in the partition.
    pub offset: u64,
    /// What is wrong with it.
    pub problem: RecordProblem,
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordProblem {
    /// The key is absent or not text.
    #[error("it has no key, or one that is not text")]
    Key,
    /// It is a tombstone, which a deleted row leaves in its topic.
    #[error("it has no payload: it is a tombstone")]
    Tombstone,
    /// A header is absent that every event has.
    #[error("it has no header {0}")]
    Missing(&'static str),
    /// A header is there twice, and nothing tells which of them counts.
    #[error("it has two headers {0}")]
    Repeated(&'static str),
    /// The value of a header can't be read.
    #[error("its header {header} is not {expected}")]
    Malformed {
        /// The header.
        header: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}
