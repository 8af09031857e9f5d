//! A database that lives in memory, and the source that captures from it.

mod database;
mod event;
mod history;
mod source;

pub use database::MemoryDatabase;
pub use event::MemoryEvent;
pub use source::MemorySource;
