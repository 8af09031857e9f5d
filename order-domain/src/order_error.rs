//! Refusals of an order. No message repeats a value that a caller sent.

use thiserror::Error;

use crate::currency::Currency;
use crate::ids::ItemId;
use crate::version::Version;

/// Why an order refuses a command. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OrderError {
    /// Start a new order: this one was cancelled, which is final.
    #[error("the order was cancelled at version {at_version} and can't change any more")]
    Cancelled {
        /// The version that the cancellation took.
        at_version: Version,
    },
    /// Nothing to do: the order was cancelled before.
    #[error("the order is cancelled already, since version {at_version}")]
    AlreadyCancelled {
        /// The version that the first cancellation took.
        at_version: Version,
    },
    /// Add an item before scheduling.
    #[error("the order has no items: add one before scheduling it")]
    Empty,
    /// Add another item first, or cancel the order: a scheduled order keeps at least one item.
    #[error("a scheduled order keeps at least one item: add another one first, or cancel the order")]
    LastItem,
    /// Read the order again: it has no such item.
    #[error("the order has no item {item_id}")]
    ItemNotFound {
        /// The item that was asked for.
        item_id: ItemId,
    },
    /// Change the quantity of the item that is there, or take another item id.
    #[error("the order has an item {item_id} already")]
    ItemExists {
        /// The item id that is taken.
        item_id: ItemId,
    },
    /// Price the item in the order's currency.
    #[error("the item's price is in {item}, the order's currency is {order}")]
    CurrencyMismatch {
        /// The currency of the order.
        order: Currency,
        /// The currency of the item's price.
        item: Currency,
    },
    /// Start another order for more items.
    #[error("an order has at most {limit} items")]
    TooManyItems {
        /// [`MAX_ITEMS_PER_ORDER`](crate::MAX_ITEMS_PER_ORDER).
        limit: usize,
    },
    /// Start another order: this one took [`Version::MAX`], so it can't change any more.
    #[error("the order has no version left for another change")]
    VersionsExhausted,
}
