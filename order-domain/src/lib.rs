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
mod error;
mod event;
mod id;
mod item;
mod money;
mod order;
mod order_state;
mod payload;
mod quantity;
mod rules;
mod sku;
mod status;
#[cfg(feature = "testing")]
pub mod testing;
mod timestamp;
mod version;

pub use command::{Command, NewOrder};
pub use currency::Currency;
pub use decide::{create, decide};
pub use delivery_window::DeliveryWindow;
pub use error::{InvalidOrder, InvalidValue, MoneyError, OrderError, ReplayError};
pub use event::{EventType, OrderEvent};
pub use id::{CustomerId, ItemId, OrderId};
pub use item::{Item, NewItem};
pub use money::Money;
pub use order::Order;
pub use order_state::{ItemState, OrderState};
pub use quantity::Quantity;
pub use rules::MAX_ITEMS_PER_ORDER;
pub use sku::Sku;
pub use status::OrderStatus;
pub use version::Version;
