//! What can go wrong, named for the caller's next move. No message repeats a value that a caller sent.

use thiserror::Error;

use crate::{Currency, EventType, ItemId, OrderId, Quantity, Sku, Version};

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

/// Why a value can't be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidValue {
    /// An id that isn't a UUID.
    #[error("an id is a UUID, like 01998f3e-7c00-7000-8000-000000000001")]
    Id,
    /// A SKU with no characters, or too many.
    #[error("a SKU has 1 to {} characters", Sku::MAX_LENGTH)]
    SkuLength,
    /// A SKU with a character that it can't have.
    #[error("a SKU has only the characters A-Z a-z 0-9 . _ / -")]
    SkuCharacter,
    /// A quantity of nothing, of less, or of too many.
    #[error("a quantity is a whole number from {} to {}", Quantity::MIN, Quantity::MAX)]
    Quantity,
    /// An amount of money below zero.
    #[error("an amount of money isn't negative")]
    NegativeMoney,
    /// A currency that isn't an alphabetic code of ISO 4217.
    #[error("a currency is an ISO 4217 code in capitals, like EUR")]
    Currency,
    /// A version below 1 or above [`Version::MAX`].
    #[error("a version is a whole number from 1 to {}", Version::MAX)]
    Version,
    /// A delivery window that ends before it starts, or at that moment.
    #[error("a delivery window ends after it starts")]
    WindowOrder,
    /// A delivery window outside of the years 1970 to 9999.
    #[error("a delivery window lies in the years 1970 to 9999")]
    WindowYear,
    /// A text that names no order status.
    #[error("an order status is open, scheduled or cancelled")]
    Status,
    /// A text that names no type of event.
    #[error("an event type is created, item_added, item_quantity_changed, item_removed, scheduled or cancelled")]
    EventType,
}

/// Why an amount of money can't be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MoneyError {
    /// The amounts are in two currencies.
    #[error("{left} and {right} can't be added: convert one of them first")]
    CurrencyMismatch {
        /// The currency of the first amount.
        left: Currency,
        /// The currency of the second amount.
        right: Currency,
    },
    /// The result is above `i64::MAX` minor units.
    #[error("the amount is too large")]
    Overflow,
    /// The result would be below zero.
    #[error("the amount would be negative")]
    Negative,
}

/// Why an [`OrderState`](crate::OrderState) isn't an order. Whoever wrote it broke a rule.
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
    /// The event tells of an item (SKU, price, quantity before) otherwise than the order has it.
    #[error("the event of version {version} tells of the item {item_id} otherwise than the order has it")]
    Contradiction {
        /// The version of the event.
        version: Version,
        /// The item.
        item_id: ItemId,
    },
}
