//! What the tests of several packages share: a database, a topic or a server of a test's own, and waiting.
//!
//! Servers are those of `scripts/services`. Everything here panics where a test can't go on.

mod authority;
mod database;
mod environment;
mod frozen;
mod instance;
#[cfg(feature = "kafka")]
pub mod kafka;
mod patience;
mod pgoutput_session;
#[cfg(feature = "kafka")]
pub mod proxy;
mod standby;

pub use authority::Authority;
pub use database::{Database, execute};
pub use environment::{required, workspace};
pub use frozen::Frozen;
pub use instance::Instance;
pub use patience::{PATIENCE, eventually, until};
pub use pgoutput_session::PgoutputSession;
pub use standby::Standby;
