//! A record as the judge sees it.

use crate::feed::change::Mark;
use crate::feed::envelope::Envelope;
use crate::feed::event::EventId;
use crate::feed::identity::{Epoch, FeedName};
use crate::feed::position::Position;
use crate::feed::transaction::TransactionPlace;

/// A record of a topic, as far as the judge looks at it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed<'a> {
    /// The partition that it was read from.
    pub partition: u32,
    /// Its offset there.
    pub offset: u64,
    /// The aggregate's id.
    pub key: &'a str,
    /// The version of the aggregate that the event closed.
    pub version: u64,
    /// The event's id.
    pub event_id: EventId,
    /// The feed that published it.
    pub feed: &'a FeedName,
    /// The feed's epoch when it was published.
    pub epoch: Epoch,
    /// Where its change stands in the source.
    pub position: &'a Position,
    /// Its place in its database transaction, where the record tells it.
    pub transaction: Option<&'a TransactionPlace>,
    /// A stub whose data is withheld. It stands for its event.
    pub withheld: bool,
    /// Whether it is a change. A replay is no duplicate and not judged for its order; a baseline opens an epoch of its key.
    pub mark: Mark,
}

impl<'a> Observed<'a> {
    /// The record that this envelope became, at a place in a topic; `None` for what is not an event.
    pub fn envelope(partition: u32, offset: u64, envelope: &'a Envelope) -> Option<Self> {
        Some(Self {
            partition,
            offset,
            key: envelope.key(),
            version: envelope.version()?,
            event_id: envelope.event_id()?,
            feed: envelope.feed(),
            epoch: envelope.epoch(),
            position: envelope.position(),
            transaction: envelope.transaction(),
            withheld: envelope.withheld_reason().is_some(),
            mark: envelope.mark(),
        })
    }
}
