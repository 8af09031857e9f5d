//! The JSON of an event, without its type and version: those are kept beside it.
//!
//! Every field can be computed inside a database, from the command and the rows that it touches, since a store may
//! decide and write the event in one SQL statement. The shapes below are a contract: fields are only ever added.
//!
//! `previous_quantity` is the one to take care of on PostgreSQL: such a statement has to read it with a row lock
//! (`FOR NO KEY UPDATE`, joined to the row of the order that it stepped). A plain read sees the snapshot from before
//! the statement waited for the order, and returns a quantity that is gone.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::currency::Currency;
use crate::delivery_window::DeliveryWindow;
use crate::event::{EventType, OrderEvent};
use crate::ids::{CustomerId, ItemId, OrderId};
use crate::invalid_value::InvalidValue;
use crate::item::Item;
use crate::money::Money;
use crate::quantity::Quantity;
use crate::sku::Sku;

impl Serialize for OrderEvent {
    /// Writes the payload.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Created { order_id, customer_id, currency } => {
                let (order_id, customer_id, currency) = (*order_id, *customer_id, *currency);
                CreatedPayload { order_id, customer_id, currency }.serialize(serializer)
            }
            Self::ItemAdded { order_id, item } | Self::ItemRemoved { order_id, item } => {
                ItemPayload::of(*order_id, item, None).serialize(serializer)
            }
            Self::ItemQuantityChanged { order_id, item, previous_quantity } => {
                ItemPayload::of(*order_id, item, Some(*previous_quantity)).serialize(serializer)
            }
            Self::Scheduled { order_id, delivery_window } => {
                let (order_id, delivery_window) = (*order_id, *delivery_window);
                ScheduledPayload { order_id, delivery_window }.serialize(serializer)
            }
            Self::Cancelled { order_id } => CancelledPayload { order_id: *order_id }.serialize(serializer),
        }
    }
}

impl OrderEvent {
    /// Reads the event of this type from its payload. Unknown fields are passed over.
    ///
    /// ```
    /// use order_domain::{EventType, OrderEvent};
    ///
    /// let payload = r#"{"order_id":"01998f3e-7c00-7000-8000-000000000001"}"#;
    /// let mut reader = serde_json::Deserializer::from_str(payload);
    /// let event = OrderEvent::from_payload(EventType::Cancelled, &mut reader)?;
    /// assert_eq!(serde_json::to_string(&event)?, payload);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    /// The deserializer's own, when the payload isn't one of this type or has a value that can't be built.
    pub fn from_payload<'de, D: Deserializer<'de>>(event_type: EventType, payload: D) -> Result<Self, D::Error> {
        Ok(match event_type {
            EventType::Created => {
                let CreatedPayload { order_id, customer_id, currency } = Deserialize::deserialize(payload)?;
                Self::Created { order_id, customer_id, currency }
            }
            EventType::ItemAdded => {
                let payload = ItemPayload::<Sku>::deserialize(payload)?;
                Self::ItemAdded { order_id: payload.order_id, item: payload.item().map_err(D::Error::custom)? }
            }
            EventType::ItemQuantityChanged => {
                let payload = ItemPayload::<Sku>::deserialize(payload)?;
                let previous_quantity =
                    payload.previous_quantity.ok_or_else(|| D::Error::missing_field("previous_quantity"))?;
                let order_id = payload.order_id;
                let item = payload.item().map_err(D::Error::custom)?;
                Self::ItemQuantityChanged { order_id, item, previous_quantity }
            }
            EventType::ItemRemoved => {
                let payload = ItemPayload::<Sku>::deserialize(payload)?;
                Self::ItemRemoved { order_id: payload.order_id, item: payload.item().map_err(D::Error::custom)? }
            }
            EventType::Scheduled => {
                let ScheduledPayload { order_id, delivery_window } = Deserialize::deserialize(payload)?;
                Self::Scheduled { order_id, delivery_window }
            }
            EventType::Cancelled => {
                let CancelledPayload { order_id } = Deserialize::deserialize(payload)?;
                Self::Cancelled { order_id }
            }
        })
    }
}

#[derive(Serialize, Deserialize)]
struct CreatedPayload {
    order_id: OrderId,
    customer_id: CustomerId,
    currency: Currency,
}

/// `S` is a borrowed SKU when writing and an owned one when reading.
#[derive(Serialize, Deserialize)]
struct ItemPayload<S> {
    order_id: OrderId,
    item_id: ItemId,
    sku: S,
    quantity: Quantity,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_quantity: Option<Quantity>,
    unit_price_minor: i64,
    currency: Currency,
}

impl<'a> ItemPayload<&'a Sku> {
    fn of(order_id: OrderId, item: &'a Item, previous_quantity: Option<Quantity>) -> Self {
        Self {
            order_id,
            item_id: item.id(),
            sku: item.sku(),
            quantity: item.quantity(),
            previous_quantity,
            unit_price_minor: item.unit_price().minor(),
            currency: item.unit_price().currency(),
        }
    }
}

impl ItemPayload<Sku> {
    fn item(self) -> Result<Item, InvalidValue> {
        let unit_price = Money::from_minor(self.unit_price_minor, self.currency)?;
        Ok(Item::new(self.item_id, self.sku, self.quantity, unit_price))
    }
}

#[derive(Serialize, Deserialize)]
struct ScheduledPayload {
    order_id: OrderId,
    delivery_window: DeliveryWindow,
}

#[derive(Serialize, Deserialize)]
struct CancelledPayload {
    order_id: OrderId,
}
