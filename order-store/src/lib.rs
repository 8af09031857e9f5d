//! Orders on constrained SQL tables: [`order_domain`] on PostgreSQL and SQLite.
//!
//! The database says yes or no, whoever asks; and what it said yes to has its event in the outbox.

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
