//! The replication connection, its stream, and the drain by SQL, on a real PostgreSQL.

mod commands;
mod database;
mod faults;
pub(crate) mod instance;
mod stream;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_source;
mod ways_in;
