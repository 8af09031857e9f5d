//! The guard on PostgreSQL: its script, its installation and its connection.

#[cfg(feature = "postgres")]
mod connection;
#[cfg(feature = "postgres")]
mod installation;
mod maintenance;
mod refusal;
mod rules;
pub(crate) mod script;
