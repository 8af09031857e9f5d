//! What an order holds.

use crate::{ItemId, Money, MoneyError, Quantity, Sku};

/// An item that somebody wants to add to an order; it has no id yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NewItem {
    sku: Sku,
    quantity: Quantity,
    unit_price: Money,
}

impl NewItem {
    /// `quantity` pieces of `sku` at `unit_price` each.
    #[must_use]
    pub const fn new(sku: Sku, quantity: Quantity, unit_price: Money) -> Self {
        Self { sku, quantity, unit_price }
    }

    /// What is ordered.
    #[must_use]
    pub const fn sku(&self) -> &Sku {
        &self.sku
    }

    /// How many pieces.
    #[must_use]
    pub const fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// The price of one piece.
    #[must_use]
    pub const fn unit_price(&self) -> Money {
        self.unit_price
    }
}

/// An item of an order. Its SKU and price never change; its quantity may.
///
/// ```
/// use order_domain::{Currency, Item, ItemId, Money, NewItem, Quantity, Sku};
///
/// let milk = NewItem::new(Sku::new("milk")?, Quantity::new(2)?, Money::from_minor(149, Currency::EUR)?);
/// let item_id: ItemId = "01998f3e-7c00-7000-8000-000000000101".parse()?;
/// assert_eq!(Item::new(item_id, milk).total()?, Money::from_minor(298, Currency::EUR)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Item {
    id: ItemId,
    item: NewItem,
}

impl Item {
    /// The item under its id.
    #[must_use]
    pub const fn new(id: ItemId, item: NewItem) -> Self {
        Self { id, item }
    }

    /// The id, unique within the order.
    #[must_use]
    pub const fn id(&self) -> ItemId {
        self.id
    }

    /// What is ordered.
    #[must_use]
    pub const fn sku(&self) -> &Sku {
        &self.item.sku
    }

    /// How many pieces.
    #[must_use]
    pub const fn quantity(&self) -> Quantity {
        self.item.quantity
    }

    /// The price of one piece.
    #[must_use]
    pub const fn unit_price(&self) -> Money {
        self.item.unit_price
    }

    /// The price of all its pieces.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn total(&self) -> Result<Money, MoneyError> {
        self.unit_price().times(self.quantity())
    }

    /// The same item with another quantity.
    #[must_use]
    pub fn with_quantity(&self, quantity: Quantity) -> Self {
        Self { id: self.id, item: NewItem { quantity, ..self.item.clone() } }
    }
}
