//! Orders on PostgreSQL: each change is one statement, and one round trip.

mod connection;
mod migrate;
mod row;
mod statement;
mod store;
mod turns;

pub use store::PostgresOrderStore;
