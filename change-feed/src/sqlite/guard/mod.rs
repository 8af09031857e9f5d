//! The guard on SQLite: its script, its installation and its connection.

#[cfg(feature = "sqlite")]
mod connection;
#[cfg(feature = "sqlite")]
mod installation;
pub(crate) mod script;
#[cfg(feature = "sqlite")]
mod tables;
