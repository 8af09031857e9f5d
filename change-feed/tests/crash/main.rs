//! Relays as real processes on real servers, and what happens to them: killed, frozen, doubled, cut off from their
//! servers, while writers write. The judge says what became of the promises.
//!
//! ```text
//!  8 writers ─▶ database ─▶ relay process ─▶ Kafka ─▶ topic ─┐
//!               │           kill -9, freeze                   ├─▶ judge
//!               └─ servers: stop, kill ─┘    └────────────────┘
//!  outbox, read when all is over: the truth ──────────────────┘
//! ```
//!
//! What a writer was told does not matter: what the outbox holds in the end is what should be in the topic. Each scenario
//! prints a report line with its counts and its seed; `CRASH_SEED` repeats the choices of a run, though not its timing.

mod assignment;
mod cluster;
mod death;
mod flaw;
mod ledger;
mod load;
#[cfg(feature = "long-tests")]
mod long;
mod process;
mod recovery;
mod relay;
mod scenarios;
mod servers;
mod topic;
mod world;

pub(crate) use assignment::{Capture, Mode};
pub(crate) use scenarios::{
    Fault, accidents, broker_kills, deaths, drains_when_told, freezes, kills, outages, readers, shows_its_flaw,
    standbys, walsenders,
};
