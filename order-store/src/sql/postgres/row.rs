//! Reads orders from rows.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use order_domain::{Currency, DeliveryWindow, ItemState, Order, OrderState, OrderStatus, Quantity, Sku, Version};
use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row, Type};
use uuid::Uuid;

use crate::error::StoreError;
use crate::sql::fault::{Fault, OrUnreadable};

/// The number of columns of an order.
pub(super) const ORDER_COLUMNS: usize = 11;
const ITEM_COLUMNS: usize = 4;

/// Reads the order in the columns of `statement::order_columns`; `None` if they are null.
pub(super) fn order(row: &PgRow) -> Result<Option<Order>, Fault> {
    match row.try_get::<Option<Uuid>, _>(0)? {
        None => Ok(None),
        Some(_) => Ok(Some(Order::try_from(state(row)?).or_unreadable("order")?)),
    }
}

/// Reads the parts of an order from columns that are not null.
pub(super) fn state(row: &PgRow) -> Result<OrderState, Fault> {
    Ok(OrderState {
        order_id: row.try_get::<Uuid, _>(0)?.into(),
        customer_id: row.try_get::<Uuid, _>(1)?.into(),
        status: parsed::<OrderStatus>(row, 2, "status")?,
        version: version(row, 3)?,
        currency: parsed::<Currency>(row, 4, "currency")?,
        delivery_window: window(row, 5)?,
        items: items(row, 7)?,
    })
}

/// Reads the order that a change made, if the row's snapshot is older than the change: the columns from `first` on have
/// the new version, status, window and items (as JSON); the rest never changes.
pub(super) fn order_afresh(row: &PgRow, first: usize) -> Result<Order, Fault> {
    let items: &str = row.try_get(first + 4)?;
    let state = OrderState {
        version: version(row, first)?,
        status: parsed::<OrderStatus>(row, first + 1, "status")?,
        delivery_window: window(row, first + 2)?,
        items: serde_json::from_str(items).or_unreadable("items")?,
        ..state(row)?
    };
    Ok(Order::try_from(state).or_unreadable("order")?)
}

pub(super) fn version(row: &PgRow, column: usize) -> Result<Version, Fault> {
    Ok(Version::new(row.try_get::<i64, _>(column)?).or_unreadable("version")?)
}

pub(super) fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &PgRow,
    column: usize,
    what: &'static str,
) -> Result<T, Fault> {
    Ok(row.try_get::<&str, _>(column)?.parse::<T>().or_unreadable(what)?)
}

fn window(row: &PgRow, column: usize) -> Result<Option<DeliveryWindow>, Fault> {
    let starts_at: Option<DateTime<Utc>> = row.try_get(column)?;
    let ends_at: Option<DateTime<Utc>> = row.try_get(column + 1)?;
    match (starts_at, ends_at) {
        (Some(starts_at), Some(ends_at)) => Ok(Some(DeliveryWindow::new(starts_at, ends_at).or_unreadable("window")?)),
        (None, None) => Ok(None),
        _ => Err(StoreError::Unreadable { what: "window", source: None }.into()),
    }
}

/// Reads the items from four arrays of one length; null without items.
fn items(row: &PgRow, first: usize) -> Result<Vec<ItemState>, Fault> {
    let item_ids = array::<Uuid>(row, first)?;
    let skus = array::<String>(row, first + 1)?;
    let quantities = array::<i32>(row, first + 2)?;
    let prices = array::<i64>(row, first + ITEM_COLUMNS - 1)?;
    let columns = item_ids.into_iter().zip(skus).zip(quantities).zip(prices);
    let items = columns.map(|(((item_id, sku), quantity), unit_price_minor)| {
        Ok(ItemState {
            item_id: item_id.into(),
            sku: Sku::new(sku).or_unreadable("SKU")?,
            quantity: Quantity::new(quantity).or_unreadable("quantity")?,
            unit_price_minor,
        })
    });
    items.collect()
}

fn array<'r, T>(row: &'r PgRow, column: usize) -> Result<Vec<T>, sqlx::Error>
where
    Vec<T>: Decode<'r, Postgres> + Type<Postgres>,
{
    Ok(row.try_get::<Option<Vec<T>>, _>(column)?.unwrap_or_default())
}
