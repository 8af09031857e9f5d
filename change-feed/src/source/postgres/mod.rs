//! What all sources on PostgreSQL share: connections, the election, and what is stored of a feed in its database.

pub(super) mod election;
mod server;
pub(super) mod state;
mod stored;

pub(super) use server::Server;
pub use stored::postgres_checkpoint;
