//! A source on the log of a real PostgreSQL.

mod clean_up;
mod closed;
mod election;
mod events;
mod idle;
mod large;
#[cfg(feature = "long-tests")]
mod long;
mod published_tables;
mod restart;
mod rows;
mod server;
#[cfg(feature = "tls")]
mod tls;
mod unix_socket;
mod world;
