//! Histories that are no order's.

use thiserror::Error;

use crate::event::EventType;
use crate::ids::{ItemId, OrderId};
use crate::order_error::OrderError;
use crate::version::Version;

/// Why a history isn't one of an order: events are missing, doubled, out of order, or tell what can't have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// There is no event at all.
    #[error("an order without events doesn't exist")]
    NoEvents,
    /// The first event isn't `created`.
    #[error("the first event of an order is created, not {found}")]
    NotCreated {
        /// The type of the first event.
        found: EventType,
    },
    /// Another event is `created` too.
    #[error("an order is created once, not at version {version} again")]
    CreatedAgain {
        /// The version of the second `created`.
        version: Version,
    },
    /// A version is missing, doubled, or out of order.
    #[error("version {expected} comes next, not {found}")]
    OutOfSequence {
        /// The version that had to come.
        expected: Version,
        /// The version that came.
        found: Version,
    },
    /// The event belongs to another order.
    #[error("an event of the order {found} is among those of {expected}")]
    OtherOrder {
        /// The order that is replayed.
        expected: OrderId,
        /// The order of the event.
        found: OrderId,
    },
    /// The event breaks a rule: [`decide`](crate::decide) would have refused it.
    #[error("the event of version {version} breaks a rule")]
    Illegal {
        /// The version of the event.
        version: Version,
        /// The rule.
        source: OrderError,
    },
    /// The event and the order differ in an item (SKU, price, quantity before).
    #[error("the event of version {version} contradicts the order about item {item_id}")]
    Contradiction {
        /// The version of the event.
        version: Version,
        /// The item.
        item_id: ItemId,
    },
}
