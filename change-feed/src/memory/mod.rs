//! A database and a broker in memory, with the source and the publisher for them: for tests, examples and benchmarks.

pub(crate) mod broker;
pub(crate) mod database;
pub(crate) mod event;
pub(crate) mod history;
pub(crate) mod log;
pub(crate) mod mode;
pub(crate) mod publisher;
pub(crate) mod source;
pub(crate) mod state;

pub use broker::MemoryBroker;
pub use database::MemoryDatabase;
pub use event::MemoryEvent;
pub use log::MemoryRecord;
pub use publisher::MemoryPublisher;
pub use source::MemorySource;
