//! Orders and their items as pure Rust: no I/O, no async, no clock (time is an argument).
//!
//! An order is created, gets items, is scheduled for delivery, and may be cancelled, which is final. Every change
//! is one [`OrderEvent`] and takes the order's next [`Version`]: 1, 2, 3 …
//!
//! ```text
//!  Command ──decide(&Order, ..)──▶ OrderEvent ──Order::apply──▶ Order
//!                  │
//!                  └──▶ OrderError (the caller's next move)
//! ```
//!
//! [`decide`] says yes or no, [`Order::apply`] takes what was decided, [`Order::from_events`] replays a history. Each
//! rule is written once, and both deciding and applying ask it. Databases that keep orders repeat the rules; this
//! crate is the specification that they are tested against (feature `testing`: random orders and commands).
//!
//! # The rules
//!
//! - Items can be added, changed and removed while an order is open or scheduled.
//! - An order without items can't be scheduled; a scheduled one keeps at least one item, and can be scheduled again.
//! - Cancelled is final. Cancelling again is refused with [`OrderError::AlreadyCancelled`].
//! - An order has one currency and at most [`MAX_ITEMS_PER_ORDER`] items.
//! - Values that break a limit can't be built, neither by a constructor nor through serde.
//!
//! # Example
//!
//! ```
//! use chrono::{TimeZone, Utc};
//! use order_domain::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Utc.with_ymd_and_hms(2026, 10, 1, 8, 0, 0).unwrap();
//! let customer = CustomerId::generate(now);
//! let created = create(OrderId::generate(now), &NewOrder::new(customer, Currency::EUR));
//! let mut order = Order::from_events([(Version::FIRST, &created)])?;
//!
//! let milk = NewItem::new(Sku::new("milk")?, Quantity::new(2)?, Money::from_minor(149, Currency::EUR)?);
//! let add = Command::AddItem { item_id: ItemId::generate(now), item: milk };
//! let event = decide(&order, &add)?;
//! order.apply(&event)?;
//! assert_eq!(order.version(), Version::new(2)?);
//! assert_eq!(order.total()?.to_string(), "2.98 EUR");
//!
//! let cancelled = decide(&order, &Command::Cancel)?;
//! order.apply(&cancelled)?;
//! let refused = decide(&order, &Command::Cancel);
//! assert_eq!(refused, Err(OrderError::AlreadyCancelled { at_version: Version::new(3)? }));
//! # Ok(())
//! # }
//! ```
//!
//! # JSON
//!
//! An [`OrderEvent`] serialises to its *payload*, an [`Order`] to its state; both are public contracts, pinned by
//! the files in `tests/golden`. Changes to them only add: readers ignore fields that they don't know and don't
//! depend on the order of keys. Times are RFC 3339 in UTC with six decimals (`2026-01-02T03:04:05.123456Z`), since
//! databases keep microseconds.

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
