//! Events of an order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::currency::Currency;
use crate::delivery_window::DeliveryWindow;
use crate::ids::{CustomerId, OrderId};
use crate::invalid_value::InvalidValue;
use crate::item::Item;
use crate::quantity::Quantity;

/// A change that was made to an order. Each event took exactly one [`Version`](crate::Version) of it.
///
/// Version, type and time are kept beside the event (in columns of a table, in headers of a message). The rest is
/// the *payload*, which serde writes; [`OrderEvent::from_payload`] reads it back. An event of an item has the
/// whole item, so that a reader can follow stock or sums without keeping orders.
///
/// | type | payload |
/// | --- | --- |
/// | `created` | `order_id`, `customer_id`, `currency` |
/// | `item_added`, `item_removed` | `order_id`, `item_id`, `sku`, `quantity`, `unit_price_minor`, `currency` |
/// | `item_quantity_changed` | the same (`quantity` is the new one), `previous_quantity` |
/// | `scheduled` | `order_id`, `delivery_window` (`starts_at`, `ends_at`) |
/// | `cancelled` | `order_id` |
///
/// ```
/// use order_domain::{Currency, CustomerId, EventType, NewOrder, OrderId, create};
///
/// let order_id: OrderId = "01998f3e-7c00-7000-8000-000000000001".parse()?;
/// let customer: CustomerId = "01998f3e-7c00-7000-8000-0000000000c1".parse()?;
/// let event = create(order_id, &NewOrder::new(customer, Currency::EUR));
/// assert_eq!(event.event_type(), EventType::Created);
/// assert_eq!(serde_json::to_value(&event)?["currency"], "EUR");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OrderEvent {
    /// The order began, open and without items.
    Created {
        /// The order.
        order_id: OrderId,
        /// The customer.
        customer_id: CustomerId,
        /// The currency of all its prices.
        currency: Currency,
    },
    /// The order got an item.
    ItemAdded {
        /// The order.
        order_id: OrderId,
        /// The item.
        item: Item,
    },
    /// The quantity of an item was set, maybe to the same number.
    ItemQuantityChanged {
        /// The order.
        order_id: OrderId,
        /// The item with its new quantity.
        item: Item,
        /// The quantity before.
        previous_quantity: Quantity,
    },
    /// The order lost an item.
    ItemRemoved {
        /// The order.
        order_id: OrderId,
        /// The item as it was.
        item: Item,
    },
    /// A delivery window was agreed, the first one or another one.
    Scheduled {
        /// The order.
        order_id: OrderId,
        /// The window.
        delivery_window: DeliveryWindow,
    },
    /// The order was cancelled. No event follows.
    Cancelled {
        /// The order.
        order_id: OrderId,
    },
}

impl OrderEvent {
    /// The order that it happened to.
    #[must_use]
    pub const fn order_id(&self) -> OrderId {
        match self {
            Self::Created { order_id, .. }
            | Self::ItemAdded { order_id, .. }
            | Self::ItemQuantityChanged { order_id, .. }
            | Self::ItemRemoved { order_id, .. }
            | Self::Scheduled { order_id, .. }
            | Self::Cancelled { order_id } => *order_id,
        }
    }

    /// The type, which is kept beside the payload.
    #[must_use]
    pub const fn event_type(&self) -> EventType {
        match self {
            Self::Created { .. } => EventType::Created,
            Self::ItemAdded { .. } => EventType::ItemAdded,
            Self::ItemQuantityChanged { .. } => EventType::ItemQuantityChanged,
            Self::ItemRemoved { .. } => EventType::ItemRemoved,
            Self::Scheduled { .. } => EventType::Scheduled,
            Self::Cancelled { .. } => EventType::Cancelled,
        }
    }
}

/// The type of an [`OrderEvent`]. Text and JSON: `created`, `item_added`, `item_quantity_changed`, `item_removed`,
/// `scheduled`, `cancelled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// The order began.
    Created,
    /// The order got an item.
    ItemAdded,
    /// The quantity of an item was set.
    ItemQuantityChanged,
    /// The order lost an item.
    ItemRemoved,
    /// A delivery window was agreed.
    Scheduled,
    /// The order was cancelled.
    Cancelled,
}

impl EventType {
    /// Every type.
    pub const ALL: [Self; 6] = [
        Self::Created,
        Self::ItemAdded,
        Self::ItemQuantityChanged,
        Self::ItemRemoved,
        Self::Scheduled,
        Self::Cancelled,
    ];

    /// The type as text, as databases keep it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::ItemAdded => "item_added",
            Self::ItemQuantityChanged => "item_quantity_changed",
            Self::ItemRemoved => "item_removed",
            Self::Scheduled => "scheduled",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for EventType {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        Self::ALL.into_iter().find(|event_type| event_type.as_str() == text).ok_or(InvalidValue::EventType)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_the_same_text_in_json_and_elsewhere() {
        for event_type in EventType::ALL {
            assert_eq!(event_type.as_str().parse(), Ok(event_type));
            assert_eq!(serde_json::to_value(event_type).unwrap(), event_type.to_string());
        }
        assert_eq!("item_moved".parse::<EventType>(), Err(InvalidValue::EventType));
    }
}
