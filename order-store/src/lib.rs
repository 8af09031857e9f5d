#![doc = include_str!("../README.md")]
//!
//! # Tests of an application
//! The feature `mock` has a mock of the trait:
//!
//! ```
//! # #[cfg(feature = "mock")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use order_domain::OrderId;
//! use order_store::{MockOrderStore, OrderStore, Refusal, Request};
//!
//! async fn cancelled_by_now(store: &dyn OrderStore, order_id: OrderId) -> bool {
//!     match store.cancel(order_id, Request::new()).await {
//!         Ok(_) => true,
//!         Err(error) => matches!(error.refusal(), Some(Refusal::AlreadyCancelled { .. })),
//!     }
//! }
//!
//! let mut store = MockOrderStore::new();
//! store.expect_cancel().returning(|_, _| Err(Refusal::OrderNotFound.into()));
//! let order_id = "01998f3e-7c00-7000-8000-000000000001".parse().expect("an id");
//! assert!(!cancelled_by_now(&store, order_id).await);
//! # }
//! # #[cfg(not(feature = "mock"))]
//! # fn main() {}
//! ```
//!
//! # Promises
//! - **R** (refusal) and **E** (event): the database keeps them against every writer, by the rules of [`guard`], whose
//!   documentation has their limits. PostgreSQL: at READ COMMITTED and above, for every role but a superuser and the
//!   tables' owner. SQLite: for every connection with `foreign_keys=ON` (a program that may write the file may also drop
//!   its triggers).
//! - **J** (join): that an event's payload matches its change is this crate's promise, for writers through the store. A program that
//!   writes with SQL of its own has to step, change and append, by the rules below; the database doesn't check the
//!   contents of its payload.
//!
//! # Tables
//! The same names on every database; on PostgreSQL in the schema `public`. This is a contract: names are only ever added.
//!
//! | table | columns |
//! | --- | --- |
//! | `orders` | `order_id`, `customer_id`, `status` (`open`, `scheduled`, `cancelled`), `version`, `currency`, `delivery_starts_at`, `delivery_ends_at`, `created_at`, `updated_at` |
//! | `order_items` | `order_id`, `item_id`, `sku`, `quantity`, `unit_price_minor` |
//! | `order_events` | `sequence`, `event_id`, `order_id`, `version`, `event_type`, `payload`, `occurred_at`, `traceparent`, `baseline`, on PostgreSQL `transaction_id` |
//! | `order_requests` | `request_id`, `order_id`, `version`, `fingerprint`, `created_at` |
//! | `order_store_migrations` | `version`, `applied_at` |
//!
//! Ids are `uuid`, on SQLite text in lower case with hyphens. Times are `timestamptz`, on SQLite text like
//! `2026-10-02T12:00:00.000000Z` with up to six decimals. `event_type` is one of [`order_domain::EventType`]; consumers
//! see `order.<event_type>.v1`. A new row may leave out `sequence`, `event_id`, all times, the delivery window, `status`
//! and `version` of a new order, `traceparent` and `transaction_id`.
//!
//! A change by plain SQL is legal if it steps the version, changes the order or its items, and appends the event, in this
//! order and in one transaction:
//!
//! ```sql
//! begin;
//! update orders set version = version + 1 where order_id = '…';
//! update order_items set quantity = 3 where order_id = '…' and item_id = '…';
//! insert into order_events (order_id, version, event_type, payload)
//!     select order_id, version, 'item_quantity_changed', '{…}' from orders where order_id = '…';
//! commit;
//! ```
//!
//! # Constraints
//! Each refusal carries one of these names: PostgreSQL reports it as the constraint's name, SQLite's message contains it,
//! and [`violated_constraint`] reads it from both. They are a contract too.
//!
//! | of `orders` | refuses |
//! | --- | --- |
//! | `orders_pkey` | a second order of the same id |
//! | `orders_is_final` | any change of a cancelled order or its items |
//! | `orders_version_starts_at_one`, `orders_version_steps_by_one`, `orders_version_has_event`, `orders_changes_inside_a_step`, `orders_key_is_fixed`, `orders_is_never_deleted` | what the guard's rules don't allow |
//! | `orders_status_is_known`, `orders_starts_open`, `orders_never_reopens` | another status, a new order that isn't open, a scheduled one that becomes open |
//! | `orders_currency_is_a_code`, `orders_currency_is_fixed` | a currency that isn't three capitals, another currency than at first |
//! | `orders_window_fits_status` | an open order with a window, a scheduled one without, half a window |
//! | `orders_window_ends_after_start`, `orders_window_years` | a window that doesn't end after its start, outside of 1970 to 9999 |
//! | `orders_scheduled_has_items` | a scheduled order without items |
//! | `orders_cancelled_keeps_window` | a cancellation that changes the window |
//!
//! | of `order_items` | refuses |
//! | --- | --- |
//! | `order_items_pkey` | a second item of the same id in an order |
//! | `order_items_changes_inside_a_step`, `order_items_has_aggregate`, `order_items_is_never_replaced` | what the guard's rules don't allow |
//! | `order_items_limit` | more than 200 items in an order |
//! | `order_items_sku_is_legal`, `order_items_quantity_range`, `order_items_price_is_not_negative` | a SKU other than 1 to 64 of `A-Z a-z 0-9 . _ / -`, a quantity outside of 1 to 999, a price below 0 |
//!
//! | of `order_events` | refuses |
//! | --- | --- |
//! | `order_events_at_present_version`, `order_events_one_per_version`, `order_events_event_id_is_unique`, `order_events_sequence_moves_on`, `order_events_is_immutable`, `order_events_pkey`, `order_events_version_is_positive` | what the guard's rules don't allow |
//! | `order_events_payload_size`, `order_events_event_type_length`, `order_events_traceparent_length`, `order_events_occurred_at_is_time` | values that are too long to publish, or no time |
//!
//! | of `order_requests` | refuses |
//! | --- | --- |
//! | `order_requests_pkey` | a second change under the same request id |
//! | `order_requests_request_id_length`, `order_requests_fingerprint_length`, `order_requests_version_is_positive` | an id of other than 1 to 200 characters, and what no request has |
//!
//! Where PostgreSQL's types refuse without a name, SQLite has some of its own: `orders_ids_are_uuids`,
//! `order_items_ids_are_uuids`, `orders_window_form`, `order_events_payload_is_json`. A column without its value is
//! `<table>_<column>_not_null`.
//!
//! # Roles
//! On PostgreSQL, [`roles_sql`] makes three: an owner for migrations, an application that changes orders and has no right
//! to go around the rules, and a feed that reads. A store that connects as the tables' owner works too, but then
//! its password is all that protects the rules.
//!
//! # Tracing
//! Target `order_store`: a span `change` with `kind` and `order_id` around each change, an event for its outcome and one for
//! each retry. Never a payload.
//!
//! # Deadlines and load
//! A request ends within the store's patience, retries and waits included. On PostgreSQL the server gives up waiting for a
//! lock before that, and a statement whose caller left is stopped: what was reported as not made is not made later. At
//! most two changes of one order are at the server at once, and a fifth of the pool is kept for reads, so that an order
//! that is locked keeps nobody else waiting.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod error;
mod page;
mod request;
mod roles;
mod schema;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
mod store;

pub use change_feed::outbox::Dialect;
pub use error::{Refusal, Source, StoreError};
pub use page::{Cursor, InvalidCursor, ORDERS_PER_PAGE, OrderPage};
pub use request::{InvalidRequestId, Request, RequestId};
pub use roles::{Roles, roles_sql};
pub use schema::{Migration, SCHEMA_VERSION, guard, migrations, outbox};
#[cfg(feature = "postgres")]
pub use sql::PostgresOrderStore;
#[cfg(feature = "sqlite")]
pub use sql::SqliteOrderStore;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use sql::{InTransaction, OrderConnection, violated_constraint};
#[cfg(feature = "mock")]
pub use store::MockOrderStore;
pub use store::OrderStore;

/// The database driver, in the version that this crate's pools and connections come from.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use sqlx;
