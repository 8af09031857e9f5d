//! The write side: the table that writers append events to in their own transactions, and its guard, **the event closes
//! the version**.
//!
//! ```text
//!  step                     change                  append                    commit
//!  version 6 -> 7           children of it          event of version 7        needs the event of 7
//!  takes the row's lock     only now                draws its sequence        (deferred foreign key)
//! ```
//!
//! Four rules, which the database keeps for every writer:
//! 1. an aggregate starts at version 1 and steps by exactly 1, when the present version has its event; a final state
//!    never steps and is never left; keys never change; nothing is deleted;
//! 2. children change only after a step and before its event, so only in the transaction that has locked the row;
//! 3. an event is inserted only at the present version, and takes its sequence number after that row's lock;
//! 4. a commit with a version that has no event is impossible.
//!
//! So every version has exactly one event, no change commits without one, and for each key the order of sequence numbers
//! is the order of versions (promises E, O and R). It holds for every role but a superuser and the tables' owner, at
//! READ COMMITTED and above; on SQLite for every connection with `foreign_keys=ON`. That a payload is true is the writer's
//! promise, not the database's.
//!
//! [`Guard`] describes the tables and generates the rules. Without any feature it prints them for a migration tool; with
//! `postgres` or `sqlite` it installs them, steps and appends:
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # async fn example(connection: &mut sqlx::PgConnection, invoice_id: uuid::Uuid) -> Result<(), Box<dyn std::error::Error>> {
//! use change_feed::outbox::{Event, Guard};
//! use sqlx::Connection as _;
//!
//! let guard = Guard::new("invoices").key("invoice_id").children("invoice_lines", "invoice_id").outbox("invoice_events");
//! guard.install(&mut *connection).await?;
//!
//! let mut tx = connection.begin().await?;
//! let version = guard.begin(&mut *tx, invoice_id).await?;
//! sqlx::query("insert into invoice_lines (invoice_id, text) values ($1, 'milk')").bind(invoice_id).execute(&mut *tx).await?;
//! let payload = serde_json::json!({ "text": "milk" });
//! guard.append(&mut *tx, Event::new("invoice.line_added.v1", invoice_id, version, &payload)).await?;
//! tx.commit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! In one statement, which is one round trip, the legal order is that of the data: the event's insert must need what the
//! changes return (`with step as (update … returning …), change as (insert … select … from step returning …) insert into
//! … select … from step join change …`; where a change touches several rows, join it as `(select count(*) from change)`).

pub(crate) mod dialect;
pub(crate) mod event;
pub(crate) mod guard;
pub(crate) mod key;
pub(crate) mod rule;
pub(crate) mod sql;
pub(crate) mod table;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) mod baseline;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) mod connection;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) mod error;
#[cfg(all(feature = "relay", any(feature = "postgres", feature = "sqlite")))]
pub(crate) mod event_types;
#[cfg(all(feature = "relay", any(feature = "postgres", feature = "sqlite")))]
pub(crate) mod pace;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) mod step_and_append;

pub use dialect::Dialect;
pub use event::Event;
pub use guard::Guard;
pub use key::{Key, KeyType};
pub use rule::Rule;
pub use table::Outbox;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use baseline::Baseline;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use connection::GuardConnection;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use error::{GuardError, violated_constraint};
#[cfg(all(feature = "relay", any(feature = "postgres", feature = "sqlite")))]
pub use pace::Wake;
