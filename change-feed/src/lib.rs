#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//!
//! A [`Source`] captures what committed, a [`Router`] gives each change its topic and form, a
//! [`Publisher`] delivers, and the relay moves parts from one to the other and acknowledges
//! what is durable. The [`outbox`] is the write side: the table that events are appended to in the
//! writer's own transaction, and the rules that the database keeps for it.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "relay")]
pub mod consumer;
#[cfg(feature = "relay")]
pub mod feed;
mod guard_sql;
#[cfg(feature = "relay")]
pub mod judge;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "relay")]
pub mod memory;
#[cfg(feature = "relay")]
pub mod ndjson;
pub mod outbox;
pub mod postgres;
#[cfg(feature = "relay")]
pub mod publisher;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "relay")]
pub mod source;
pub mod sqlite;

#[cfg(feature = "relay")]
pub use feed::{
    Change, ChangeId, Changes, Checkpoint, Content, End, Envelope, Epoch, EventId, EventRecord, FeedIdentity, FeedName,
    InvalidFeedName, InvalidPosition, Mark, Mismatch, NoRoute, Part, Position, PublisherIdentity, Router, RowFormat,
    Side, SourceIdentity, Topic, TransactionId, TransactionPlace,
};
#[cfg(feature = "kafka")]
pub use kafka::KafkaPublisher;
#[cfg(all(feature = "relay", any(feature = "postgres", feature = "sqlite")))]
pub use outbox::Wake;
#[cfg(feature = "logical")]
pub use postgres::log::LogicalSource;
#[cfg(all(feature = "relay", feature = "postgres"))]
pub use postgres::poll::PostgresPollSource;
#[cfg(feature = "relay")]
pub use publisher::{PublishError, Publisher};
#[cfg(feature = "relay")]
pub use relay::{OnRejected, Relay, RelayError, RelayHandle, RelayOptions, RelayState, RelayStatus, Stopped};
#[cfg(feature = "relay")]
pub use source::{Source, SourceError};
#[cfg(all(feature = "relay", feature = "sqlite"))]
pub use sqlite::SqliteOutboxSource;
