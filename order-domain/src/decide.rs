//! Decides whether an order accepts a command.

use crate::command::{Command, NewOrder};
use crate::event::OrderEvent;
use crate::ids::OrderId;
use crate::order::Order;
use crate::order_error::OrderError;
use crate::rules;

/// Returns the event that creates an order: version 1. Only an id that exists already can refuse it, which the store
/// checks.
#[must_use]
pub const fn create(order_id: OrderId, order: &NewOrder) -> OrderEvent {
    OrderEvent::Created { order_id, customer_id: order.customer_id(), currency: order.currency() }
}

/// Returns the event by which a command takes the order's next version. The order itself stays as it is until
/// [`Order::apply`] takes the event.
///
/// ```
/// # use chrono::{TimeZone, Utc};
/// use order_domain::*;
///
/// # let now = Utc.with_ymd_and_hms(2026, 10, 1, 8, 0, 0).unwrap();
/// # let created = create(OrderId::generate(now), &NewOrder::new(CustomerId::generate(now), Currency::EUR));
/// # let mut order = Order::from_events([(Version::FIRST, &created)])?;
/// let cancelled = decide(&order, &Command::Cancel).expect("an open order can be cancelled");
/// order.apply(&cancelled)?;
/// let refused = decide(&order, &Command::RemoveItem { item_id: ItemId::generate(now) });
/// assert_eq!(refused, Err(OrderError::Cancelled { at_version: order.version() }));
/// # Ok::<(), ReplayError>(())
/// ```
///
/// # Errors
/// Where several apply, the first of: [`OrderError::Cancelled`] ([`OrderError::AlreadyCancelled`] for
/// [`Command::Cancel`]), [`OrderError::VersionsExhausted`], [`OrderError::ItemExists`],
/// [`OrderError::ItemNotFound`], [`OrderError::CurrencyMismatch`], [`OrderError::TooManyItems`],
/// [`OrderError::LastItem`], [`OrderError::Empty`].
pub fn decide(order: &Order, command: &Command) -> Result<OrderEvent, OrderError> {
    let order_id = order.id();
    match command {
        Command::AddItem { item_id, item } => {
            let (_, item) = rules::add_item(order, *item_id, item)?;
            Ok(OrderEvent::ItemAdded { order_id, item })
        }
        Command::ChangeItemQuantity { item_id, quantity } => {
            let item = &order.items()[rules::change_item_quantity(order, *item_id)?];
            let previous_quantity = item.quantity();
            Ok(OrderEvent::ItemQuantityChanged { order_id, item: item.with_quantity(*quantity), previous_quantity })
        }
        Command::RemoveItem { item_id } => {
            let item = &order.items()[rules::remove_item(order, *item_id)?];
            Ok(OrderEvent::ItemRemoved { order_id, item: item.clone() })
        }
        Command::Schedule { delivery_window } => {
            rules::schedule(order)?;
            Ok(OrderEvent::Scheduled { order_id, delivery_window: *delivery_window })
        }
        Command::Cancel => {
            rules::cancel(order)?;
            Ok(OrderEvent::Cancelled { order_id })
        }
    }
}
