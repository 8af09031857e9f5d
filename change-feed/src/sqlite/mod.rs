//! SQLite: an outbox by its sequence.
//!
//! SQLite has one writer at a time, and `AUTOINCREMENT` numbers grow with every insert, so the order of the sequence is
//! the order of the commits: everything after the last number seen is everything new.
//!
//! - **L**, **O**: by the above. The guard's outbox has an `AUTOINCREMENT` key; a table without one is refused, since SQLite would give
//!   a deleted row's number again.
//! - **P**: in WAL mode what was read is on the disk before it is given, also where writers use `synchronous = NORMAL`. In
//!   the other journal modes it is, unless a writer uses `synchronous = OFF`.
//! - **A**: what is visible at a poll is given as one, up to [`max_page_rows`](SqliteOutboxSourceBuilder::max_page_rows) rows and
//!   [`max_page_bytes`](SqliteOutboxSourceBuilder::max_page_bytes). Above, a transaction may be split: SQLite does not name transactions, so changes carry
//!   no [`TransactionPlace`](crate::feed::change::TransactionPlace).
//! - **Election**: an exclusive lock on the file `<database>.<feed>.lock`, which the operating system releases when its holder
//!   ends, however it ends. A process that is frozen keeps it. The file stays. File locks do not work on every network file system; SQLite's own don't either.
//!
//! What a feed stores is in the tables `change_feed_feeds` and `change_feed_database` of the same file. The latter holds an id that tells
//! this database from others; a copy of the file has the same.
//!
//! A restored older copy is noticed at the start where its sequence ends before the feed's position, or another event stands
//! where the last one stood: then the feed fails closed. A file that is replaced while the source has it open is noticed within about a second.

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
