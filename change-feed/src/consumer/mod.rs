//! Takes events from a topic, and tells which are new, repeated or missing.
//!
//! ```text
//!  record ──▶ ReceivedEvent ──▶ Admission: new, duplicate, gap … ──▶ effect ──▶ taken
//!                                   ▲                                            │
//!                                   └─────────────── ProgressStore ◀─────────────┘
//! ```
//!
//! A consumer that stores its progress in the transaction of the effect takes each event once,
//! whatever the delivery (D), and notices if one is missing (L).

pub(crate) mod admission;
pub(crate) mod event;
pub(crate) mod progress;
pub(crate) mod progress_store;
pub(crate) mod record;

pub use admission::{Admission, FirstVersion, Taken};
pub use event::{PayloadError, ReceivedEvent};
pub use progress::Progress;
pub use progress_store::{ProgressKey, ProgressStore, Received};
pub use record::{Record, RecordError, RecordProblem};
