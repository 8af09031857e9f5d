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
//! A [`ReplicationConnection`] creates and drops slots and runs plain queries. [`ReplicationConnection::start`] turns it into
//! a [`ReplicationStream`]. A thread of its own then reads the connection, up to a bound, and frames are slices of what it has
//! read. The same thread sends to the server what the caller has made durable, also while the caller takes no frames.
//! `reader.rs` explains why it is a thread.
//!
//! The formats are those of *Frontend/Backend Protocol* in PostgreSQL's documentation, sections
//! *Message Flow*, *Streaming Replication Protocol* and *SASL Authentication*; releases 14 to 18.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod authentication;
mod cancellation;
mod connection;
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
mod settings;
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
mod wire;

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
