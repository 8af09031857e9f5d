#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! ```text
//!  ConnectOptions ──connect──▶ ReplicationConnection ──start──▶ ReplicationStream ──next──▶ Frame
//!   URL, limits                 slots, queries                   ▲       │ Confirmer::confirm
//!                                                                └ feedback ──▶ server
//! ```
//!
//! A [`ReplicationConnection`] makes, drops and starts slots and answers plain queries. Once started
//! it is a [`ReplicationStream`]: a thread of its own reads the connection, and frames come as slices of what it read. What
//! the caller has made durable goes back to the server from the same thread, also while nobody takes frames.
//! How far the thread reads ahead is bounded. Why it is a thread, `reader.rs` says.
//!
//! The formats are those of *Frontend/Backend Protocol* in PostgreSQL's documentation, sections
//! *Message Flow*, *Streaming Replication Protocol* and *SASL Authentication*; releases 14 to 18.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod authentication;
mod cancellation;
mod connection;
mod environment;
mod error;
mod feedback;
mod frame;
mod inbox;
mod incoming;
mod lsn;
mod options;
mod pace;
mod password;
pub mod pgoutput;
mod quoting;
mod reader;
mod rows;
mod server_error;
mod session;
mod silence;
mod slot;
mod socket;
mod stream;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod tls_mode;
mod transport;
mod url;

pub use connection::{ReplicationConnection, System};
pub use error::ReplicationError;
pub use feedback::Confirmer;
pub use frame::{Frame, Keepalive, XLogData};
pub use lsn::{InvalidLsn, Lsn};
pub use options::ConnectOptions;
pub use rows::Rows;
pub use server_error::ServerError;
pub use slot::{CreatedSlot, NewSlot, SlotSnapshot};
pub use stream::{ReplicationStream, StartOptions};
pub use tls_mode::{ChannelBinding, SslMode};
