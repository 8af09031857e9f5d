//! Orders on SQLite: each change is one short transaction of the only writer.

mod connection;
mod file;
mod migrate;
mod statement;
mod store;

pub use store::SqliteOrderStore;
