//! Orders on constrained SQL tables: [`order_domain`] on PostgreSQL and SQLite.
//!
//! The database says yes or no, whoever asks; and what it said yes to has its event in the outbox.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod error;
mod page;
mod request;
mod store;

pub use error::{Refusal, Source, StoreError};
pub use page::{Cursor, InvalidCursor, ORDERS_PER_PAGE, OrderPage};
pub use request::{InvalidRequestId, Request, RequestId};
#[cfg(feature = "mock")]
pub use store::MockOrderStore;
pub use store::OrderStore;
