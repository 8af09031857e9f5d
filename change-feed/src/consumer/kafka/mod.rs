//! Reads a topic of Kafka.
//!
//! ```text
//!  builder ──open──▶ reader ──step──▶ client: librdkafka's consumer
//!                      ▲                 │ silent, and does not answer either
//!                      ├──── vigil ◀─────┤ (then another client takes its place, at the same offsets)
//!                      │                 │ silent about a partition that goes on
//!                      └─ stragglers ◀───┘ (then it is told again where to read; if that does not help, the same)
//! ```

mod builder;
mod client;
mod error;
mod partition;
mod reader;
mod stragglers;
mod vigil;

pub use builder::KafkaReaderBuilder;
pub use error::ReaderError;
pub use reader::{KafkaReader, Received};
