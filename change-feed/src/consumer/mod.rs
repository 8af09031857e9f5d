//! Takes events from a topic: what they say, and whether one is new, repeated or missing.
//!
//! ```text
//!  record ──▶ ReceivedEvent ──▶ Progress ──▶ Admission: new, duplicate, gap …
//! ```
//!
//! A consumer that stores its [`Progress`] in the same transaction as the effect of an event takes
//! each event once, whatever the delivery (D), and notices if one is missing (L).

mod event;
#[cfg(feature = "kafka")]
mod kafka;
mod progress;
mod record;

pub use event::{PayloadError, ReceivedEvent};
#[cfg(feature = "kafka")]
pub use kafka::{KafkaReader, KafkaReaderBuilder, ReaderError, Received};
pub use progress::{Admission, Progress};
pub use record::{Record, RecordError, RecordProblem};
