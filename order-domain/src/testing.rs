//! Random orders and commands for property tests (feature `testing`).
//!
//! The commands are made to collide: few item ids, now and then another currency, few cancellations, so that most
//! sequences reach every rule. A store runs the same sequence there and here, and compares answers,
//! orders and events.
//!
//! ```
//! use order_domain::testing;
//! use proptest::prelude::*;
//!
//! proptest!(|(new_order in testing::new_order(), commands in testing::commands(0..20))| {
//!     // Run them on this crate and on the store; the answers have to be the same.
//!     # let _ = (new_order, commands);
//! });
//! ```

use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use crate::command::{Command, NewOrder};
use crate::currency::Currency;
use crate::delivery_window::DeliveryWindow;
use crate::ids::{CustomerId, ItemId, OrderId};
use crate::item::NewItem;
use crate::money::Money;
use crate::quantity::Quantity;
use crate::sku::Sku;

/// The number of different items in the commands: those of [`item_id`] 0 up to this.
pub const ITEM_IDS: u8 = 6;

/// The item ids that the commands choose from: number `n` is always the same id, and they sort by number.
#[must_use]
pub fn item_id(number: u8) -> ItemId {
    const FIRST: u128 = 0x0199_8f3e_7c00_7000_8000_0000_0000_0100;
    Uuid::from_u128(FIRST + u128::from(number)).into()
}

/// Any order id.
pub fn order_id() -> impl Strategy<Value = OrderId> {
    any::<u128>().prop_map(|bits| Uuid::from_u128(bits).into())
}

/// Any new order in euros, the currency of most prices in [`commands`].
pub fn new_order() -> impl Strategy<Value = NewOrder> {
    any::<u128>().prop_map(|bits| NewOrder::new(CustomerId::from(Uuid::from_u128(bits)), Currency::EUR))
}

/// A sequence of commands, of a length in the range. A cancellation is one of about twenty of them.
pub fn commands(length: Range<usize>) -> impl Strategy<Value = Vec<Command>> {
    proptest::collection::vec(command(), length)
}

/// One command.
pub fn command() -> impl Strategy<Value = Command> {
    let item_id = || (0..ITEM_IDS).prop_map(item_id);
    prop_oneof![
        8 => (item_id(), new_item()).prop_map(|(item_id, item)| Command::AddItem { item_id, item }),
        4 => (item_id(), quantity())
            .prop_map(|(item_id, quantity)| Command::ChangeItemQuantity { item_id, quantity }),
        4 => item_id().prop_map(|item_id| Command::RemoveItem { item_id }),
        3 => delivery_window().prop_map(|delivery_window| Command::Schedule { delivery_window }),
        1 => Just(Command::Cancel),
    ]
}

/// An item, mostly priced in euros or in the order's currency.
pub fn new_item() -> impl Strategy<Value = NewItem> {
    let currency = prop_oneof![9 => Just(Some(Currency::EUR)), 5 => Just(None), 2 => Just(Some(Currency::JPY))];
    (sku(), quantity(), price_minor(), currency).prop_filter_map("negative", |(sku, quantity, minor, currency)| {
        match currency {
            Some(currency) => Money::from_minor(minor, currency).ok().map(|price| NewItem::new(sku, quantity, price)),
            None => NewItem::in_order_currency(sku, quantity, minor).ok(),
        }
    })
}

/// A SKU of any legal characters and length.
pub fn sku() -> impl Strategy<Value = Sku> {
    const ALLOWED: &[u8] = b"ABCXYZabcxyz0189._/-";
    let character = proptest::sample::select(ALLOWED).prop_map(char::from);
    let text = proptest::collection::vec(character, 1..=Sku::MAX_LENGTH);
    text.prop_filter_map("SKU", |text| Sku::new(text.into_iter().collect::<String>()).ok())
}

/// Any quantity, the smallest and the largest more often than the others.
pub fn quantity() -> impl Strategy<Value = Quantity> {
    let inner =
        (Quantity::MIN.get()..=Quantity::MAX.get()).prop_filter_map("quantity", |pieces| Quantity::new(pieces).ok());
    prop_oneof![1 => Just(Quantity::MIN), 1 => Just(Quantity::MAX), 6 => inner]
}

/// Any window of up to a month in the years 2020 to 2100, in microseconds.
pub fn delivery_window() -> impl Strategy<Value = DeliveryWindow> {
    const YEAR_2020: i64 = 1_577_836_800_000_000;
    const YEAR_2100: i64 = 4_102_444_800_000_000;
    const MONTH: i64 = 2_678_400_000_000;
    (YEAR_2020..YEAR_2100, 1..=MONTH).prop_filter_map("window", |(start, length)| {
        let starts_at: DateTime<Utc> = DateTime::from_timestamp_micros(start)?;
        DeliveryWindow::new(starts_at, starts_at + TimeDelta::microseconds(length)).ok()
    })
}

/// Usual prices, zero, and a few prices whose sum overflows.
fn price_minor() -> impl Strategy<Value = i64> {
    prop_oneof![12 => 1_i64..100_000, 2 => Just(0), 1 => Just(i64::MAX), 1 => 0..=i64::MAX]
}
