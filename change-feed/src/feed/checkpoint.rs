//! How far a feed has come.

use serde::{Deserialize, Serialize};

use super::identity::FeedIdentity;
use super::position::Position;

/// How far a feed has come, and whose position that is. Stored as JSON.
///
/// Checkpoints of one feed are ordered by epoch and then by position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The version of this form: 1. A checkpoint of a later form is not read.
    format: CheckpointFormat,
    /// The feed that the position belongs to.
    pub identity: FeedIdentity,
    /// Everything through this position is durable at the publisher.
    pub position: Position,
}

impl Checkpoint {
    /// The checkpoint of this feed at this position.
    pub fn new(identity: FeedIdentity, position: Position) -> Self {
        Self { format: CheckpointFormat, identity, position }
    }

    /// Whether this one is from an earlier epoch than `other`, or before it in the same epoch.
    pub fn is_older_than(&self, other: &Checkpoint) -> bool {
        (self.identity.epoch, &self.position) < (other.identity.epoch, &other.position)
    }
}

/// The number 1: an older program must not read a newer form, drop what it does not know and
/// write the rest back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct CheckpointFormat;

impl CheckpointFormat {
    const NUMBER: u32 = 1;
}

impl TryFrom<u32> for CheckpointFormat {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        let known = number == Self::NUMBER;
        known.then_some(Self).ok_or_else(|| format!("this checkpoint has form {number}; a newer change-feed wrote it"))
    }
}

impl From<CheckpointFormat> for u32 {
    fn from(_: CheckpointFormat) -> Self {
        CheckpointFormat::NUMBER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::identity::tests::identity;

    #[test]
    fn a_checkpoint_of_a_later_form_is_not_read() {
        let checkpoint = Checkpoint::new(identity(), Position::ORIGIN);
        let json = serde_json::to_string(&checkpoint).expect("plain data").replace("\"format\":1", "\"format\":2");
        assert!(serde_json::from_str::<Checkpoint>(&json).is_err());
    }

    #[test]
    fn a_checkpoint_reads_back_from_its_json() {
        let checkpoint = Checkpoint::new(identity(), Position::new('s', 7, 0));
        let json = serde_json::to_string(&checkpoint).expect("plain data");
        assert_eq!(serde_json::from_str::<Checkpoint>(&json).expect("the same shape"), checkpoint);
    }
}
