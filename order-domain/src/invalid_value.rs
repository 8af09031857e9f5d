//! Values that can't be built. No message repeats a value that a caller sent.

use thiserror::Error;

use crate::limits::{MAX_QUANTITY, MAX_SKU_LENGTH, MAX_VERSION, MIN_QUANTITY};

/// Why a value can't be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidValue {
    /// An id that isn't a UUID.
    #[error("an id is a UUID, like 01998f3e-7c00-7000-8000-000000000001")]
    Id,
    /// A SKU with no characters, or too many.
    #[error("a SKU has 1 to {} characters", MAX_SKU_LENGTH)]
    SkuLength,
    /// A SKU with a character that it can't have.
    #[error("a SKU has only the characters A-Z a-z 0-9 . _ / -")]
    SkuCharacter,
    /// A quantity of nothing, of less, or of too many.
    #[error("a quantity is a whole number from {} to {}", MIN_QUANTITY, MAX_QUANTITY)]
    Quantity,
    /// An amount of money below zero.
    #[error("an amount of money isn't negative")]
    NegativeMoney,
    /// A currency that isn't an alphabetic code of ISO 4217.
    #[error("a currency is an ISO 4217 code in capitals, like EUR")]
    Currency,
    /// A version below 1 or above [`Version::MAX`](crate::Version::MAX).
    #[error("a version is a whole number from 1 to {}", MAX_VERSION)]
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
