//! The parts of an order, as JSON and databases hold them.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::currency::Currency;
use crate::delivery_window::DeliveryWindow;
use crate::ids::{CustomerId, ItemId, OrderId};
use crate::invalid_order::InvalidOrder;
use crate::item::Item;
use crate::limits::MAX_ITEMS_PER_ORDER;
use crate::money::Money;
use crate::order::Order;
use crate::order_status::OrderStatus;
use crate::quantity::Quantity;
use crate::sku::Sku;
use crate::version::Version;

/// The parts of an order, as JSON and databases hold them. `Order::try_from` checks them.
///
/// ```
/// use order_domain::{InvalidOrder, Order, OrderState, OrderStatus};
///
/// let json = r#"{
///     "order_id": "01998f3e-7c00-7000-8000-000000000001",
///     "customer_id": "01998f3e-7c00-7000-8000-0000000000c1",
///     "status": "open", "version": 1, "currency": "EUR", "items": [], "delivery_window": null
/// }"#;
/// let mut state: OrderState = serde_json::from_str(json)?;
/// assert_eq!(Order::try_from(state.clone())?.status(), OrderStatus::Open);
///
/// state.status = OrderStatus::Scheduled;
/// assert_eq!(Order::try_from(state), Err(InvalidOrder::ScheduledWithoutWindow));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderState {
    /// The order's id.
    pub order_id: OrderId,
    /// The customer.
    pub customer_id: CustomerId,
    /// The status.
    pub status: OrderStatus,
    /// The version that its last change took.
    pub version: Version,
    /// The currency of all its prices.
    pub currency: Currency,
    /// Its items, in any order.
    pub items: Vec<ItemState>,
    /// The window that was agreed last.
    pub delivery_window: Option<DeliveryWindow>,
}

/// The parts of an item in an [`OrderState`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemState {
    /// The item's id.
    pub item_id: ItemId,
    /// The article.
    pub sku: Sku,
    /// The number of pieces.
    pub quantity: Quantity,
    /// The price of one piece, in minor units of the order's currency.
    pub unit_price_minor: i64,
}

impl Serialize for Order {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        OrderState::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        OrderState::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}

impl TryFrom<OrderState> for Order {
    type Error = InvalidOrder;

    /// Refuses whatever no history of events could have made.
    fn try_from(state: OrderState) -> Result<Self, InvalidOrder> {
        match (state.status, state.delivery_window) {
            (OrderStatus::Open, Some(_)) => return Err(InvalidOrder::OpenWithWindow),
            (OrderStatus::Scheduled, None) => return Err(InvalidOrder::ScheduledWithoutWindow),
            (_, Some(_)) if state.items.is_empty() => return Err(InvalidOrder::WindowWithoutItems),
            _ => {}
        }
        Ok(Self {
            id: state.order_id,
            customer_id: state.customer_id,
            status: state.status,
            version: state.version,
            currency: state.currency,
            items: sorted_items(state.items, state.currency)?,
            delivery_window: state.delivery_window,
        })
    }
}

impl From<&Order> for OrderState {
    fn from(order: &Order) -> Self {
        Self {
            order_id: order.id,
            customer_id: order.customer_id,
            status: order.status,
            version: order.version,
            currency: order.currency,
            items: order.items.iter().map(ItemState::from).collect(),
            delivery_window: order.delivery_window,
        }
    }
}

impl From<&Item> for ItemState {
    fn from(item: &Item) -> Self {
        Self {
            item_id: item.id(),
            sku: item.sku().clone(),
            quantity: item.quantity(),
            unit_price_minor: item.unit_price().minor(),
        }
    }
}

fn sorted_items(items: Vec<ItemState>, currency: Currency) -> Result<Vec<Item>, InvalidOrder> {
    if items.len() > MAX_ITEMS_PER_ORDER {
        return Err(InvalidOrder::TooManyItems { limit: MAX_ITEMS_PER_ORDER });
    }
    let mut sorted = BTreeMap::new();
    for ItemState { item_id, sku, quantity, unit_price_minor } in items {
        let item = Item::new(item_id, sku, quantity, Money::from_minor(unit_price_minor, currency)?);
        if sorted.insert(item_id, item).is_some() {
            return Err(InvalidOrder::ItemTwice { item_id });
        }
    }
    Ok(sorted.into_values().collect())
}
