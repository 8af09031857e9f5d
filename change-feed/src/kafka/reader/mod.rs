//! Reads a topic of Kafka.
//!
//! ```text
//!  builder ──open──▶ reader ──step──▶ client: librdkafka's consumer
//!                      ▲                 │ silent, and does not answer either
//!                      ├──── vigil ◀─────┤ (then another client takes its place, at the same offsets)
//!                      │                 │ silent about a partition that goes on
//!                      └─ stragglers ◀───┘ (then it is told again where to read; if that does not help, the same)
//! ```

pub(crate) mod builder;
pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod partition;
pub(crate) mod reader;
pub(crate) mod stragglers;
pub(crate) mod vigil;

pub use builder::KafkaReaderBuilder;
pub use error::ReaderError;
pub use reader::{KafkaReader, Received};
