//! The relay: moves what committed from a source to a publisher, and comes back after every fault.
//!
//! ```text
//!            ┌────────────────────────── a session ──────────────────────────┐
//!  run ──▶ elect ─▶ resume ─▶ compare ─▶ start ─▶ enrol ─▶ pump ──shutdown──▶ Stopped
//!   ▲      standby   fences   identity                      │
//!   └── pause with jitter ◀── transient error ──────────────┤
//!   └── at once ◀── an envelope was rejected: withhold it ──┤
//!                              fenced, mismatch, fatal ─────┴──▶ RelayError
//!
//!  pump:  source.next ─▶ router ─▶ queue of parts ─▶ publisher.publish ─▶ source.acknowledge
//!         one at a time            bounded bytes     one at a time        coalesced
//! ```
//!
//! The three calls of the pump overlap: while one part is being published the next one forms, and
//! grows up to its limits. Nothing waits for more to come: an idle feed publishes a change at once.
//! After a failure parts are half as large, and twice as large after each success.
//! All of it is one future without tasks of its own. When it is dropped, at any point, the next
//! relay goes on where the publisher stands (or, where that keeps no position, the source).
//!
//! # Promises
//!
//! - **L**, **P**: only what a source gave is published, and it is acknowledged only when durable.
//! - **D**: with a publisher that keeps positions each change is published once; with any other the
//!   changes since the last acknowledged position may come again, with the same event ids.
//! - **O**: parts are published in the order of the source, one at a time.
//! - **A**: whole transactions share a part, a large one spans several; a part that continues never
//!   stands behind complete transactions in one part. The database's transaction is torn only by a
//!   publisher that isn't transactional.
//! - **V**: transient errors are retried without limit, and every retry is visible in the
//!   [status](RelayHandle::status) and in the log.
//!
//! # Log
//!
//! All events have the target `change_feed::relay` and the field `feed`; none has a payload.
//!
//! | level | what |
//! | --- | --- |
//! | error | failed closed, fenced or stopped, with the reason |
//! | warn | a retry with its number, delay and cause; an envelope withheld, with its event id; a shutdown that left something behind |
//! | info | waiting for the election; elected; resumed, at which position; paused; stopped |
//! | debug | a part was published through a position |
//! | trace | a run was captured; a part goes to the publisher; a position was acknowledged |

pub(crate) mod error;
pub(crate) mod options;
pub(crate) mod pace;
pub(crate) mod pump;
pub(crate) mod queue;
pub(crate) mod rejections;
mod relay;
pub(crate) mod retries;
pub(crate) mod session;
pub(crate) mod setback;
pub(crate) mod status;

pub use error::RelayError;
pub use options::{OnRejected, RelayOptions};
pub use relay::{Relay, Stopped};
pub use status::{RelayHandle, RelayState, RelayStatus};

/// The target of the relay's log.
const LOG: &str = "change_feed::relay";
