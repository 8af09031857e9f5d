//! Pages of lists.

use std::fmt;
use std::str::FromStr;

use order_domain::{Order, OrderId};
use thiserror::Error;
use uuid::Uuid;

/// The most orders on a page.
pub const ORDERS_PER_PAGE: usize = 20;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrderPage {
    /// The orders of this page.
    pub orders: Vec<Order>,
    /// The cursor of the next page; `None` on the last page.
    pub next: Option<Cursor>,
}

impl OrderPage {
    /// A page, and the cursor of the next one.
    #[must_use]
    pub const fn new(orders: Vec<Order>, next: Option<Cursor>) -> Self {
        Self { orders, next }
    }
}

/// A place in a list. Its text is opaque, to be passed on, for example in a URL.
///
/// ```
/// use order_store::Cursor;
///
/// # let order_id = "01998f3e-7c00-7000-8000-000000000001".parse()?;
/// let cursor = Cursor::after(order_id);
/// assert_eq!(cursor.to_string().parse(), Ok(cursor));
/// assert!("page 2".parse::<Cursor>().is_err());
/// # Ok::<(), order_domain::InvalidValue>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    after: OrderId,
}

impl Cursor {
    /// The place after this order.
    #[must_use]
    pub const fn after(order_id: OrderId) -> Self {
        Self { after: order_id }
    }

    /// The order before the place.
    #[must_use]
    pub const fn order_id(&self) -> OrderId {
        self.after
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.after.as_uuid().simple().fmt(formatter)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let uuid = text.parse::<Uuid>().map_err(|_| InvalidCursor)?;
        Ok(Self::after(uuid.into()))
    }
}

/// A text that is no cursor of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a cursor: pass the one that came with the page before")]
pub struct InvalidCursor;
