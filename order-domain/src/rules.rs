//! The rules of an order, each in one place. Deciding asks them, and applying asks them again, so that no history
//! can make an order that no command could have made.

use crate::ids::ItemId;
use crate::item::{Item, NewItem};
use crate::limits::MAX_ITEMS_PER_ORDER;
use crate::order::Order;
use crate::order_error::OrderError;
use crate::order_status::OrderStatus;

/// Checks that an item may be added, and gives it its id and its price in the order's currency. Returns its place among
/// the others too.
pub(crate) fn add_item(order: &Order, item_id: ItemId, item: &NewItem) -> Result<(usize, Item), OrderError> {
    not_cancelled(order)?;
    let Err(place) = order.place_of(item_id) else {
        return Err(OrderError::ItemExists { item_id });
    };
    let unit_price = item.unit_price_in(order.currency())?;
    if order.items().len() >= MAX_ITEMS_PER_ORDER {
        return Err(OrderError::TooManyItems { limit: MAX_ITEMS_PER_ORDER });
    }
    Ok((place, Item::new(item_id, item.sku().clone(), item.quantity(), unit_price)))
}

/// The quantity of an item may change: answers where the item is.
pub(crate) fn change_item_quantity(order: &Order, item_id: ItemId) -> Result<usize, OrderError> {
    not_cancelled(order)?;
    order.place_of(item_id).map_err(|_| OrderError::ItemNotFound { item_id })
}

/// An item may be removed: answers where it is.
pub(crate) fn remove_item(order: &Order, item_id: ItemId) -> Result<usize, OrderError> {
    let place = change_item_quantity(order, item_id)?;
    if order.status() == OrderStatus::Scheduled && order.items().len() == 1 {
        return Err(OrderError::LastItem);
    }
    Ok(place)
}

/// The order may be scheduled, for the first time or again.
pub(crate) fn schedule(order: &Order) -> Result<(), OrderError> {
    not_cancelled(order)?;
    if order.items().is_empty() { Err(OrderError::Empty) } else { Ok(()) }
}

/// The order may be cancelled.
pub(crate) fn cancel(order: &Order) -> Result<(), OrderError> {
    not_cancelled(order).map_err(|refused| match refused {
        OrderError::Cancelled { at_version } => OrderError::AlreadyCancelled { at_version },
        other => other,
    })
}

/// Cancelled is final, so a cancelled order's version is the one that its cancellation took.
fn not_cancelled(order: &Order) -> Result<(), OrderError> {
    if order.status() == OrderStatus::Cancelled {
        return Err(OrderError::Cancelled { at_version: order.version() });
    }
    order.version().next().map(|_| ()).ok_or(OrderError::VersionsExhausted)
}
