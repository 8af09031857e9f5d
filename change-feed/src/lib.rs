//! What committed in the database reaches Kafka: in order, exactly once.
//!
//! ```text
//!  source ──changes──▶ router ──envelopes──▶ publisher
//!    ▲                                           │ durable
//!    └────────── acknowledge(checkpoint) ◀───────┘
//! ```
//!
//! A [`Source`] captures what committed, a [`Router`] gives each change its topic and form, a
//! [`Publisher`] delivers, and the relay moves parts from one to the other and acknowledges
//! what is durable. The [`outbox`] is the write side: the table that events are appended to in the
//! writer's own transaction, and the rules that the database keeps for it.

#![warn(clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "relay")]
mod change;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "relay")]
pub mod consumer;
#[cfg(feature = "relay")]
mod envelope;
#[cfg(feature = "relay")]
mod identity;
#[cfg(feature = "relay")]
pub mod judge;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod outbox;
#[cfg(feature = "relay")]
mod part;
#[cfg(feature = "relay")]
mod position;
#[cfg(feature = "relay")]
pub mod publisher;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "relay")]
mod router;
#[cfg(feature = "relay")]
pub mod row;
#[cfg(feature = "relay")]
pub mod source;
#[cfg(feature = "relay")]
pub mod value;

#[cfg(feature = "relay")]
pub use change::{Change, Content, EventId, EventRecord, TransactionPlace};
#[cfg(feature = "relay")]
pub use envelope::Envelope;
#[cfg(feature = "relay")]
pub use identity::{
    Checkpoint, Epoch, FeedIdentity, FeedName, InvalidFeedName, Mismatch, PublisherIdentity, Side, SourceIdentity,
    Topic,
};
#[cfg(feature = "relay")]
pub use part::{Changes, End, Part};
#[cfg(feature = "relay")]
pub use position::{InvalidPosition, Position};
#[cfg(feature = "kafka")]
pub use publisher::KafkaPublisher;
#[cfg(feature = "relay")]
pub use publisher::{PublishError, Publisher};
#[cfg(feature = "relay")]
pub use relay::{OnRejected, Relay, RelayError, RelayHandle, RelayOptions, RelayState, RelayStatus, Stopped};
#[cfg(feature = "relay")]
pub use router::{NoRoute, Router, RowFormat};
#[cfg(feature = "logical")]
pub use source::LogicalSource;
#[cfg(all(feature = "relay", feature = "postgres"))]
pub use source::PostgresPollSource;
#[cfg(all(feature = "relay", feature = "sqlite"))]
pub use source::SqliteOutboxSource;
#[cfg(all(feature = "relay", any(feature = "postgres", feature = "sqlite")))]
pub use source::Wake;
#[cfg(feature = "relay")]
pub use source::{Source, SourceError};
