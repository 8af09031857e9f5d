//! Takes events from a topic: what they say, and whether one is new, repeated or missing.
//!
//! ```text
//!  record ──▶ ReceivedEvent ──▶ Progress ──▶ Admission: new, duplicate, gap …
//! ```
//!
//! A consumer that stores its [`Progress`] in the same transaction as the effect of an event takes
//! each event once, whatever the delivery (D), and notices if one is missing (L).

pub(crate) mod event;
pub(crate) mod progress;
pub(crate) mod record;

pub use event::{PayloadError, ReceivedEvent};
pub use progress::{Admission, Progress};
pub use record::{Record, RecordError, RecordProblem};
