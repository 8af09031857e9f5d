//! Requests to create or change an order.

use crate::currency::Currency;
use crate::delivery_window::DeliveryWindow;
use crate::ids::{CustomerId, ItemId};
use crate::item::NewItem;
use crate::quantity::Quantity;

/// An order to create; it has no id yet. [`create`](crate::create) makes its first event.
///
/// ```
/// use order_domain::{Currency, CustomerId, NewOrder};
///
/// let customer: CustomerId = "01998f3e-7c00-7000-8000-0000000000c1".parse()?;
/// assert_eq!(NewOrder::new(customer, Currency::EUR).currency(), Currency::EUR);
/// # Ok::<(), order_domain::InvalidValue>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NewOrder {
    customer_id: CustomerId,
    currency: Currency,
}

impl NewOrder {
    /// An order of this customer, priced in this currency.
    #[must_use]
    pub const fn new(customer_id: CustomerId, currency: Currency) -> Self {
        Self { customer_id, currency }
    }

    /// The customer.
    #[must_use]
    pub const fn customer_id(&self) -> CustomerId {
        self.customer_id
    }

    /// The currency of all its prices.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.currency
    }
}

/// A change of an order, for [`decide`](crate::decide) to accept or refuse.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// Add an item under an id that the order doesn't have yet.
    AddItem {
        /// The id that the item gets.
        item_id: ItemId,
        /// The item.
        item: NewItem,
    },
    /// Change the quantity of an item. The quantity that it has already is a change too and takes a version, so that
    /// the answer doesn't depend on what another device did a moment before.
    ChangeItemQuantity {
        /// The item.
        item_id: ItemId,
        /// The quantity from now on.
        quantity: Quantity,
    },
    /// Remove an item.
    RemoveItem {
        /// The item.
        item_id: ItemId,
    },
    /// Set the delivery window, for the first time or again.
    Schedule {
        /// The window from now on.
        delivery_window: DeliveryWindow,
    },
    /// Cancel the order for good.
    Cancel,
}
