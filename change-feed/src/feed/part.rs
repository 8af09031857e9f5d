//! What moves through a feed at a time.

use super::change::Change;
use super::checkpoint::Checkpoint;
use super::envelope::Envelope;
use super::identity::FeedIdentity;
use super::position::Position;

/// How a run of changes ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// In the middle of a database transaction: more of it follows.
    Continues,
    /// At a place to start from: everything through this position has been given. That is the end
    /// of a transaction, unless the source had to split a very large one, which it documents.
    Complete(Position),
}

impl End {
    /// The position, at a complete end.
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Continues => None,
            Self::Complete(position) => Some(position),
        }
    }
}

/// A run of committed changes, as a source gives it: at least one whole transaction, or a piece of
/// a large one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Changes {
    /// The changes, in the order of the source. Empty if the source only moved past changes that
    /// are of no concern to the feed.
    pub changes: Vec<Change>,
    /// How the run ends.
    pub end: End,
}

impl Changes {
    /// Changes through a position to start from.
    pub fn complete(changes: Vec<Change>, through: Position) -> Self {
        Self { changes, end: End::Complete(through) }
    }

    /// A piece of a transaction of which more follows.
    pub fn continued(changes: Vec<Change>) -> Self {
        Self { changes, end: End::Continues }
    }
}

/// A run of envelopes, as a publisher takes it.
///
/// All parts since the last complete end, this one included, belong together: a transactional
/// publisher makes them visible at once, at the complete end. A complete part may be empty: then
/// only the position moved.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    identity: &'a FeedIdentity,
    envelopes: &'a [Envelope],
    end: &'a End,
}

impl<'a> Part<'a> {
    /// A part of the feed with this identity.
    pub fn new(identity: &'a FeedIdentity, envelopes: &'a [Envelope], end: &'a End) -> Self {
        Self { identity, envelopes, end }
    }

    /// The feed that the part belongs to.
    pub fn identity(&self) -> &'a FeedIdentity {
        self.identity
    }

    /// The envelopes, in the order in which they are to be published.
    pub fn envelopes(&self) -> &'a [Envelope] {
        self.envelopes
    }

    /// How the part ends.
    pub fn end(&self) -> &'a End {
        self.end
    }

    /// What a publisher that keeps positions stores together with this part; `None` unless the
    /// part is complete.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let position = self.end.position()?.clone();
        Some(Checkpoint::new(self.identity.clone(), position))
    }
}
