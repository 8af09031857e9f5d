//! An order, as its events made it.

use crate::currency::Currency;
use crate::delivery_window::DeliveryWindow;
use crate::ids::{CustomerId, ItemId, OrderId};
use crate::item::Item;
use crate::money::Money;
use crate::money_error::MoneyError;
use crate::order_status::OrderStatus;
use crate::version::Version;

/// An order, as its events made it. Only events change it.
///
/// JSON has the fields of [`OrderState`](crate::OrderState), from which it is also built when its parts come from a database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Order {
    pub(crate) id: OrderId,
    pub(crate) customer_id: CustomerId,
    pub(crate) status: OrderStatus,
    pub(crate) version: Version,
    pub(crate) currency: Currency,
    /// Sorted by id.
    pub(crate) items: Vec<Item>,
    pub(crate) delivery_window: Option<DeliveryWindow>,
}

impl Order {
    /// The id.
    #[must_use]
    pub const fn id(&self) -> OrderId {
        self.id
    }

    /// The customer.
    #[must_use]
    pub const fn customer_id(&self) -> CustomerId {
        self.customer_id
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> OrderStatus {
        self.status
    }

    /// The version that its last change took.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The currency of all its prices.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// Its items, sorted by id: with ids of UUID version 7, in the order in which they were added.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The item of this id, if it has one.
    #[must_use]
    pub fn item(&self, item_id: ItemId) -> Option<&Item> {
        self.place_of(item_id).ok().map(|place| &self.items[place])
    }

    /// The window that was agreed last; a cancelled order keeps the one that it had.
    #[must_use]
    pub const fn delivery_window(&self) -> Option<DeliveryWindow> {
        self.delivery_window
    }

    /// What all its items cost.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`]: no order is refused for its sum, so a sum may be too large to tell.
    pub fn total(&self) -> Result<Money, MoneyError> {
        self.items.iter().try_fold(Money::zero(self.currency), |sum, item| sum.plus(item.total()?))
    }

    /// The index of the item, or the index where it belongs.
    pub(crate) fn place_of(&self, item_id: ItemId) -> Result<usize, usize> {
        self.items.binary_search_by_key(&item_id, Item::id)
    }
}
