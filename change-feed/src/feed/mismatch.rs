//! Why a feed can't go on from its position.

use std::fmt;

use super::position::Position;

/// Why a feed can't go on from its position: it fails closed rather than lose or invent a change.
///
/// `Display` gives the reason; [`Mismatch::remedy`] what to do about it. Nothing in the source is
/// lost by any of them: the outbox holds every event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// A part of the identity is not what it was.
    #[error("the {what} of this feed is {found:?}, but the position that {kept_by} keeps belongs to {stored:?}")]
    Differs {
        /// The part that differs.
        what: &'static str,
        /// The side that keeps the position.
        kept_by: Side,
        /// What it was.
        stored: String,
        /// What it is now.
        found: String,
    },
    /// A topic has another number of partitions: a key's later events would overtake its earlier ones.
    #[error("topic {topic:?} has {found} partitions, and had {stored} when this feed began")]
    Repartitioned {
        /// The topic.
        topic: String,
        /// The number of partitions when the feed began.
        stored: u32,
        /// The number of partitions now.
        found: u32,
    },
    /// A topic was deleted and created again: what had been published is gone from it.
    #[error("topic {topic:?} was deleted and created again since this feed began")]
    TopicRecreated {
        /// The topic.
        topic: String,
    },
    /// The source's database is older than what was published: it was restored from a backup, or a
    /// fail-over lost its last commits.
    #[error("the feed has published through {position}, but the source ends at {source_end}")]
    SourceBehind {
        /// The stored position.
        position: Position,
        /// Where the source ends.
        source_end: Position,
    },
    /// The source no longer has the changes after the stored position.
    #[error("the changes after {position} are gone from the source: {detail}")]
    SourceGone {
        /// The stored position.
        position: Position,
        /// What the source says.
        detail: String,
    },
    /// The source is not set up as this feed needs it, or is so no longer: going on would lose changes in silence.
    #[error("{what}")]
    SourceUnfit {
        /// What is not as it must be.
        what: String,
        /// How to make it so.
        remedy: String,
    },
    /// The publisher has less than the source was told it has: its records or its position were lost.
    #[error(
        "the source was told that everything through {acknowledged} is published, but the publisher has only {published}"
    )]
    PublisherBehind {
        /// What the source was told.
        acknowledged: Position,
        /// What the publisher has.
        published: Position,
    },
    /// One side knows the feed and the other doesn't.
    #[error("only {known_by} knows this feed, at {position}: the other side has forgotten it, or is another one")]
    Forgotten {
        /// The side that has a position.
        known_by: Side,
        /// The position of the side that has one.
        position: Position,
    },
}

impl Mismatch {
    /// A position that a source of another kind made.
    pub fn made_by_another_kind(position: &Position, found: &str) -> Self {
        Self::Differs {
            what: "kind of source",
            kept_by: Side::Publisher,
            stored: format!("the one that made {position}"),
            found: found.to_owned(),
        }
    }

    /// What the operator does next.
    pub fn remedy(&self) -> String {
        const ANEW: &str =
            "start a feed under a new name with a new topic: an outbox that was never pruned holds the whole history";
        match self {
            Self::Differs { what, .. } => {
                format!(
                    "if the change of the {what} was a mistake, put it back and start again; if it was meant, {ANEW}"
                )
            }
            Self::Repartitioned { topic, stored, .. } => {
                format!("create {topic:?} with {stored} partitions again, or {ANEW}")
            }
            Self::TopicRecreated { .. } | Self::SourceGone { .. } => ANEW.to_owned(),
            Self::SourceUnfit { remedy, .. } => remedy.clone(),
            Self::SourceBehind { .. } => {
                format!("check that this is the right database; if it was restored or failed over, {ANEW}")
            }
            Self::PublisherBehind { .. } | Self::Forgotten { .. } => {
                format!("check that the feed points at the right cluster and database; if it does, {ANEW}")
            }
        }
    }
}

/// One of the two sides of a feed that keep its identity and position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The database that changes are captured from.
    Source,
    /// The broker that they are published to.
    Publisher,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "the source",
            Self::Publisher => "the publisher",
        })
    }
}
