#![doc = include_str!("../README.md")]
//!
//! # JSON
//!
//! An [`OrderEvent`] serialises to its *payload*, an [`Order`] to its state; both are public contracts, pinned by
//! the files in `tests/golden`. Changes to them only add: readers ignore fields that they don't know and don't
//! depend on the order of keys. Times are RFC 3339 in UTC with six decimals (`2026-01-02T03:04:05.123456Z`), since
//! databases keep microseconds.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod command;
mod currency;
mod decide;
mod delivery_window;
mod event;
mod ids;
mod invalid_order;
mod invalid_value;
mod item;
mod limits;
mod money;
mod money_error;
mod order;
mod order_error;
mod order_state;
mod order_status;
mod payload;
mod quantity;
mod replay;
mod replay_error;
mod rules;
mod sku;
#[cfg(feature = "testing")]
pub mod testing;
mod timestamp;
mod version;

pub use command::{Command, NewOrder};
pub use currency::Currency;
pub use decide::{create, decide};
pub use delivery_window::DeliveryWindow;
pub use event::{EventType, OrderEvent};
pub use ids::{CustomerId, ItemId, OrderId};
pub use invalid_order::InvalidOrder;
pub use invalid_value::InvalidValue;
pub use item::{Item, NewItem};
pub use limits::MAX_ITEMS_PER_ORDER;
pub use money::Money;
pub use money_error::MoneyError;
pub use order::Order;
pub use order_error::OrderError;
pub use order_state::{ItemState, OrderState};
pub use order_status::OrderStatus;
pub use quantity::Quantity;
pub use replay_error::ReplayError;
pub use sku::Sku;
pub use version::Version;
