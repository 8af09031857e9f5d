//! What a source captures.

use super::change_id::ChangeId;
use super::event::EventRecord;
use super::position::Position;
use super::row_change::RowChange;
use super::transaction::TransactionPlace;

/// One committed change, as a source captured it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// Its place in the source: after the previous complete end, at or before the next one. Not a place to start
    /// from, and without a tail. Of a row it is the same whichever run gives the change.
    pub position: Position,
    /// Its place in its database transaction, where the source can tell. `None` for what is in no transaction of a
    /// writer, as the rows of a snapshot are.
    pub transaction: Option<TransactionPlace>,
    /// Whether it is a change that was made just now, or something else that is published beside those.
    pub mark: Mark,
    /// What changed.
    pub content: Content,
}

/// What a record is to its readers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mark {
    /// A change, in the order of the commits.
    #[default]
    Change,
    /// A row as a snapshot read it: it was there before the feed, or before the table was captured.
    Snapshot,
    /// The state of a key at the beginning of an epoch: it holds the effect of every earlier change.
    ///
    /// An event has an id of its own then, since a consumer that knows the event must take the baseline all the same.
    Baseline,
    /// Published again on an operator's order: no duplicate, and out of order.
    Replay,
}

impl Change {
    /// An event at this position. The event of an adopted aggregate is a baseline.
    pub fn event(position: Position, event: EventRecord) -> Self {
        Self::new(position, Content::Event(event))
    }

    /// A change of a row at this position.
    pub fn row(position: Position, change: RowChange) -> Self {
        Self::new(position, Content::Row(change))
    }

    pub(crate) fn new(position: Position, content: Content) -> Self {
        let mark = match &content {
            Content::Event(event) if event.baseline => Mark::Baseline,
            Content::Event(_) | Content::Row(_) => Mark::Change,
        };
        Self { position, transaction: None, mark, content }
    }

    /// With its place in its database transaction.
    #[must_use]
    pub fn in_transaction(self, place: TransactionPlace) -> Self {
        Self { transaction: Some(place), ..self }
    }

    /// With this mark.
    #[must_use]
    pub fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    /// What identifies it: see [`ChangeId`].
    pub fn id(&self) -> ChangeId {
        match &self.content {
            Content::Event(event) => ChangeId::event(event.event_id),
            Content::Row(_) => ChangeId::row(&self.position),
        }
    }
}

/// What changed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// An event was appended to an outbox.
    Event(EventRecord),
    /// A row of a published table changed.
    Row(RowChange),
}
