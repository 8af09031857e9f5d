//! The replication connection, its stream, and the drain by SQL, on a real PostgreSQL.

mod commands;
mod database;
mod faults;
pub(crate) mod stream;
#[cfg(feature = "tls")]
mod tls;
mod ways_in;
