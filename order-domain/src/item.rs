//! Items of orders.

use crate::currency::Currency;
use crate::ids::ItemId;
use crate::invalid_value::InvalidValue;
use crate::money::Money;
use crate::money_error::MoneyError;
use crate::order_error::OrderError;
use crate::quantity::Quantity;
use crate::sku::Sku;

/// An item to add to an order. The order gives it its id, and the currency of its price if that has none.
///
/// ```
/// use order_domain::{Currency, Money, NewItem, Quantity, Sku};
///
/// let price = Money::from_minor(149, Currency::EUR)?;
/// let milk = NewItem::new(Sku::new("milk")?, Quantity::new(2)?, price);
/// assert_eq!(milk.currency(), Some(Currency::EUR));
///
/// let bread = NewItem::in_order_currency(Sku::new("bread")?, Quantity::new(1)?, 320)?;
/// assert_eq!((bread.unit_price_minor(), bread.currency()), (320, None));
/// # Ok::<(), order_domain::InvalidValue>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NewItem {
    sku: Sku,
    quantity: Quantity,
    /// Never negative.
    unit_price_minor: i64,
    currency: Option<Currency>,
}

impl NewItem {
    /// `quantity` pieces of `sku` at `unit_price` each. An order in another currency refuses the item.
    #[must_use]
    pub const fn new(sku: Sku, quantity: Quantity, unit_price: Money) -> Self {
        Self { sku, quantity, unit_price_minor: unit_price.minor(), currency: Some(unit_price.currency()) }
    }

    /// `quantity` pieces of `sku` at `unit_price_minor` each, in minor units of the order's currency: for callers that
    /// don't know the currency.
    ///
    /// # Errors
    /// [`InvalidValue::NegativeMoney`] below zero.
    pub fn in_order_currency(sku: Sku, quantity: Quantity, unit_price_minor: i64) -> Result<Self, InvalidValue> {
        if unit_price_minor < 0 {
            return Err(InvalidValue::NegativeMoney);
        }
        Ok(Self { sku, quantity, unit_price_minor, currency: None })
    }

    /// The article.
    #[must_use]
    pub const fn sku(&self) -> &Sku {
        &self.sku
    }

    /// The number of pieces.
    #[must_use]
    pub const fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// The price of one piece in minor units of the currency; never negative.
    #[must_use]
    pub const fn unit_price_minor(&self) -> i64 {
        self.unit_price_minor
    }

    /// The currency of the price; `None` stands for the order's own currency.
    #[must_use]
    pub const fn currency(&self) -> Option<Currency> {
        self.currency
    }

    /// The price of one piece in an order of this currency, if the item has no other currency.
    pub(crate) fn unit_price_in(&self, order: Currency) -> Result<Money, OrderError> {
        match self.currency {
            Some(item) if item != order => Err(OrderError::CurrencyMismatch { order, item }),
            _ => Ok(Money::from_checked_minor(self.unit_price_minor, order)),
        }
    }
}

/// An item of an order. Its SKU and price never change; its quantity may.
///
/// ```
/// use order_domain::{Currency, Item, ItemId, Money, Quantity, Sku};
///
/// let item_id: ItemId = "01998f3e-7c00-7000-8000-000000000101".parse()?;
/// let milk = Item::new(item_id, Sku::new("milk")?, Quantity::new(2)?, Money::from_minor(149, Currency::EUR)?);
/// assert_eq!(milk.total()?, Money::from_minor(298, Currency::EUR)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Item {
    id: ItemId,
    sku: Sku,
    quantity: Quantity,
    unit_price: Money,
}

impl Item {
    /// `quantity` pieces of `sku` at `unit_price` each, under an id that is unique within the order.
    #[must_use]
    pub const fn new(id: ItemId, sku: Sku, quantity: Quantity, unit_price: Money) -> Self {
        Self { id, sku, quantity, unit_price }
    }

    /// The id, unique within the order.
    #[must_use]
    pub const fn id(&self) -> ItemId {
        self.id
    }

    /// The article.
    #[must_use]
    pub const fn sku(&self) -> &Sku {
        &self.sku
    }

    /// The number of pieces.
    #[must_use]
    pub const fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// The price of one piece.
    #[must_use]
    pub const fn unit_price(&self) -> Money {
        self.unit_price
    }

    /// The price of all pieces.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn total(&self) -> Result<Money, MoneyError> {
        self.unit_price.times(self.quantity)
    }

    /// The same item with another quantity.
    #[must_use]
    pub fn with_quantity(&self, quantity: Quantity) -> Self {
        Self { quantity, ..self.clone() }
    }
}
