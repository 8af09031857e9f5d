//! States that are no order.

use thiserror::Error;

use crate::ids::ItemId;
use crate::invalid_value::InvalidValue;

/// Why an [`OrderState`](crate::OrderState) isn't an order: its writer broke a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidOrder {
    /// A value in it can't be built.
    #[error(transparent)]
    Value(#[from] InvalidValue),
    /// It has two items of one id.
    #[error("the order has the item {item_id} twice")]
    ItemTwice {
        /// The id that two items have.
        item_id: ItemId,
    },
    /// It has too many items.
    #[error("the order has more than {limit} items")]
    TooManyItems {
        /// [`MAX_ITEMS_PER_ORDER`](crate::MAX_ITEMS_PER_ORDER).
        limit: usize,
    },
    /// It is open and has a delivery window.
    #[error("the order is open, yet it has a delivery window")]
    OpenWithWindow,
    /// It is scheduled and has no delivery window.
    #[error("the order is scheduled, yet it has no delivery window")]
    ScheduledWithoutWindow,
    /// It has a delivery window and no items.
    #[error("the order has a delivery window, yet no items")]
    WindowWithoutItems,
}
