//! A broker that lives in memory, and the publisher that delivers to it.

mod broker;
mod log;
mod mode;
mod publisher;
mod state;

pub use broker::MemoryBroker;
pub use log::MemoryRecord;
pub use publisher::MemoryPublisher;
