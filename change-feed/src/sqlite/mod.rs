//! SQLite: an outbox by its sequence.
//!
//! SQLite has one writer at a time, and `AUTOINCREMENT` numbers grow with every insert, so the order of the sequence is the
//! order of the commits: the new events are those after the last number that was read.
//!
//! - **L**, **O**: by the above. The guard's outbox has an `AUTOINCREMENT` key; a table without one is refused, since SQLite
//!   would use a deleted row's number again.
//! - **P**: in WAL mode changes are on the disk before they are given, even if writers use `synchronous = NORMAL`. In the
//!   other journal modes too, unless a writer uses `synchronous = OFF`.
//! - **A**: a poll gives all that is visible at once, up to [`max_page_rows`](SqliteOutboxSourceBuilder::max_page_rows) rows
//!   and [`max_page_bytes`](SqliteOutboxSourceBuilder::max_page_bytes). Above these limits a transaction may be split: SQLite
//!   does not name transactions, so changes have
//!   no [`TransactionPlace`](crate::feed::transaction::TransactionPlace).
//! - **Election**: an exclusive lock on the file `<database>.<feed>.lock`, which the operating system releases when its
//!   holder ends, even by a crash. A frozen process keeps it. The file stays. File locks, SQLite's own included, do not work
//!   on every network file system.
//!
//! A feed stores its state in the tables `change_feed_feeds` and `change_feed_database` of the same file. The latter holds an
//! id that identifies the database; a copy of the file has the same id.
//!
//! The start of a feed notices a restored older copy if its sequence ends before the feed's position, or if another event has
//! the sequence of the last one: then the feed fails closed. A file that is replaced while the source has it open is noticed
//! within about a second.

#[cfg(all(feature = "relay", feature = "sqlite"))]
mod builder;
#[cfg(all(feature = "relay", feature = "sqlite"))]
mod database;
#[cfg(all(feature = "relay", feature = "sqlite"))]
mod election;
pub(crate) mod guard;
#[cfg(all(feature = "relay", feature = "sqlite"))]
mod reader;
#[cfg(all(feature = "relay", feature = "sqlite"))]
mod source;
#[cfg(all(feature = "relay", feature = "sqlite"))]
mod state;

#[cfg(all(feature = "relay", feature = "sqlite"))]
pub use builder::SqliteOutboxSourceBuilder;
#[cfg(all(feature = "relay", feature = "sqlite"))]
pub use source::SqliteOutboxSource;
