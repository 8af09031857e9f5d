//! PostgreSQL: the guard's SQL and its installation, and the sources on the write-ahead log and by polling.

#[cfg(all(feature = "relay", feature = "postgres"))]
mod database_url;
#[cfg(all(feature = "relay", feature = "postgres"))]
pub(crate) mod election;
#[cfg(feature = "postgres")]
mod find_outbox;
pub(crate) mod guard;
#[cfg(feature = "logical")]
pub mod log;
#[cfg(feature = "logical")]
pub(crate) mod mismatch;
#[cfg(all(feature = "relay", feature = "postgres"))]
pub mod poll;
#[cfg(all(feature = "relay", feature = "postgres"))]
pub(crate) mod server;
#[cfg(all(feature = "relay", feature = "postgres"))]
mod sqlstate;
#[cfg(all(feature = "relay", feature = "postgres"))]
pub(crate) mod state;
#[cfg(all(feature = "relay", feature = "postgres"))]
mod stored_checkpoint;
#[cfg(feature = "relay")]
pub mod value;

#[cfg(all(feature = "relay", feature = "postgres"))]
pub use stored_checkpoint::postgres_checkpoint;
