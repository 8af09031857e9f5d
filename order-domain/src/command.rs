//! What somebody wants an order to do.

use crate::currency::Currency;
use crate::delivery_window::DeliveryWindow;
use crate::ids::{CustomerId, ItemId};
use crate::item::NewItem;
use crate::quantity::Quantity;

/// An order that somebody wants to create; it has no id yet. [`create`](crate::create) makes it.
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

    /// Whose order it is.
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

/// A change that somebody wants of an order. [`decide`](crate::decide) answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// Add an item under an id that the order doesn't have yet.
    AddItem {
        /// The id that the item gets.
        item_id: ItemId,
        /// The item.
        item: NewItem,
    },
    /// Change how many pieces of an item are ordered. The quantity that it has already is a change too: it takes a
    /// version like any other, so that the answer doesn't depend on what another device did a moment before.
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
    /// Agree on a delivery window, or on another one.
    Schedule {
        /// The window from now on.
        delivery_window: DeliveryWindow,
    },
    /// Cancel the order for good.
    Cancel,
}
