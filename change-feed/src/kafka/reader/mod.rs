//! Reads a topic of Kafka.
//!
//! ```text
//!  builder ──open──▶ reader ──▶ client: librdkafka's consumer ──▶ given ──next──▶ the consumer
//!                      ▲          │                                 ▲                │ after its effect
//!                      │          │                                 └─────taken──────┘
//!                      ├ liveness ┤ gives nothing and answers nothing: another client takes its place, at the same offsets
//!                      └─ silent ─┘ gives nothing of a partition that has more: it is assigned again, and then replaced
//!                       partitions
//! ```

pub(crate) mod builder;
pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod given;
pub(crate) mod liveness;
pub(crate) mod partition;
pub(crate) mod reader;
pub(crate) mod silent_partitions;

pub use builder::KafkaReaderBuilder;
pub use error::ReaderError;
pub use reader::KafkaReader;
