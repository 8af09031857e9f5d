//! Errors of a store, named for the caller's next move.

use std::error::Error as StdError;

use order_domain::{Currency, OrderError, Version};
use thiserror::Error;

/// The error below a store's error.
pub type Source = Box<dyn StdError + Send + Sync>;

/// Why a store didn't return an order. Nothing changed, except possibly after [`StoreError::Unknown`], and after
/// [`StoreError::Unreadable`] of a change.
///
/// ```
/// use order_store::{Refusal, StoreError};
///
/// let error = StoreError::from(Refusal::OrderEmpty);
/// assert_eq!(error.refusal(), Some(&Refusal::OrderEmpty));
/// ```
///
/// No message repeats a value that a caller sent, nor a password.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database refused: show the reason to the user.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connection was lost before the answer came: the change may have happened. Repeat it with the same request
    /// id to find out. Without a request id, read the order.
    #[error(
        "the database did not answer: the change may have been made; repeat it with the same request id to find out"
    )]
    Unknown {
        /// The error of the connection.
        source: Source,
    },
    /// Another transaction conflicts with the caller's own: roll it back and repeat it. Only from
    /// [`InTransaction`](crate::InTransaction); a store retries by itself.
    #[error("another transaction conflicts with this one: roll it back and repeat it")]
    Conflict {
        /// The conflict.
        source: Source,
    },
    /// The database can't be reached, is overloaded, or other changes came first each time: try later.
    #[error("the database is not available: nothing was changed; try later")]
    Unavailable {
        /// Why.
        source: Source,
    },
    /// The database holds another version of the tables than this program knows: run the program's `migrate` as the
    /// tables' owner if `found` is below, and a newer program if it is above.
    #[error("the database has version {found} of the store's tables, this program needs {expected}: {}", remedy(.found, .expected))]
    SchemaVersion {
        /// The version in the database; 0 where the tables aren't there at all.
        found: i64,
        /// The version that this program knows.
        expected: i64,
    },
    /// The stored order breaks a rule: another program went around them. A change may have been made before its result
    /// turned out to be unreadable.
    #[error("the stored order is invalid: its {what} breaks a rule of the domain; correct the row")]
    Unreadable {
        /// The part of the order.
        what: &'static str,
        /// The rule, if it has a description.
        source: Option<Source>,
    },
    /// The SQLite file or its log was deleted or replaced while the store had it open. Every request is refused until the
    /// program is started again: what it changed in the old file would be gone then.
    #[error(
        "the database file or its log was deleted or replaced while it was open: nothing was changed; stop the program, \
         put the right file in its place, and start it again"
    )]
    FileReplaced,
    /// The program or its set-up is wrong (a missing right, an invalid URL): the source says what.
    #[error("the database refuses this program: nothing was changed; correct its rights, URL or settings")]
    Setup {
        /// The error of the database or the driver.
        source: Source,
    },
}

impl StoreError {
    /// [`StoreError::Unknown`].
    #[must_use]
    pub fn unknown(source: impl Into<Source>) -> Self {
        Self::Unknown { source: source.into() }
    }

    /// [`StoreError::Unavailable`].
    #[must_use]
    pub fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable { source: source.into() }
    }

    /// The refusal, if it is one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// Why the database refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Start a new order: this one was cancelled, which is final.
    #[error("the order was cancelled at version {at_version} and can't change any more")]
    OrderCancelled {
        /// The version that the cancellation took.
        at_version: Version,
    },
    /// Nothing to do: the order was cancelled before.
    #[error("the order is cancelled already, since version {at_version}")]
    AlreadyCancelled {
        /// The version that the first cancellation took.
        at_version: Version,
    },
    /// There is no such order.
    #[error("there is no such order")]
    OrderNotFound,
    /// Read the order again: it has no such item.
    #[error("the order has no such item")]
    ItemNotFound,
    /// Change the quantity of the item that is there, or take another item id.
    #[error("the order has an item of this id already")]
    ItemExists,
    /// Add an item before scheduling.
    #[error("the order has no items: add one before scheduling it")]
    OrderEmpty,
    /// Add another item first, or cancel the order: a scheduled order keeps at least one item.
    #[error("a scheduled order keeps at least one item: add another one first, or cancel the order")]
    LastItem,
    /// Start another order for more items.
    #[error("an order has at most {limit} items")]
    TooManyItems {
        /// [`order_domain::MAX_ITEMS_PER_ORDER`].
        limit: usize,
    },
    /// Price the item in the order's currency.
    #[error("the item's price is in {item}, the order's currency is {order}")]
    CurrencyMismatch {
        /// The currency of the order.
        order: Currency,
        /// The currency of the item's price.
        item: Currency,
    },
    /// Read the order again: it has changed.
    #[error("the order has version {actual}, not {expected}")]
    VersionConflict {
        /// The version that the request named.
        expected: Version,
        /// The version that the order has.
        actual: Version,
    },
    /// Start another order: this one took the last version there is.
    #[error("the order has no version left for another change")]
    VersionsExhausted,
    /// Take a new request id: this one was accepted for another change.
    #[error("this request id was accepted for another change")]
    RequestIdReused,
    /// A constraint of the database that has no refusal of its own; the crate's documentation lists them.
    #[error("the database refused: constraint {constraint}")]
    Violation {
        /// The constraint's name, the same on every database.
        constraint: String,
    },
}

impl From<OrderError> for Refusal {
    fn from(refused: OrderError) -> Self {
        match refused {
            OrderError::Cancelled { at_version } => Self::OrderCancelled { at_version },
            OrderError::AlreadyCancelled { at_version } => Self::AlreadyCancelled { at_version },
            OrderError::Empty => Self::OrderEmpty,
            OrderError::LastItem => Self::LastItem,
            OrderError::ItemNotFound { .. } => Self::ItemNotFound,
            OrderError::ItemExists { .. } => Self::ItemExists,
            OrderError::CurrencyMismatch { order, item } => Self::CurrencyMismatch { order, item },
            OrderError::TooManyItems { limit } => Self::TooManyItems { limit },
            OrderError::VersionsExhausted => Self::VersionsExhausted,
        }
    }
}

fn remedy(found: &i64, expected: &i64) -> &'static str {
    if found < expected { "migrate it as the tables' owner" } else { "use a newer program" }
}
