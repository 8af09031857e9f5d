//! Compares a topic with the tables: what should have been published with what was.
//!
//! ```text
//!  outbox rows ──▶ History ─┐
//!                           ├─▶ Judge ──▶ Verdict: counts and findings
//!  records, in ──▶ Observed ┘
//!  the order of
//!  each partition
//! ```
//!
//! The judge is the core of `verify` and the oracle of this workspace's tests. It proves, or shows
//! where they broke, the promises L (no loss), D (no duplicate), P (no phantom), O (order) and A
//! (atomic) for one topic, up to a position.
//!
//! What it finds is sorted into kinds that exclude each other ([`FindingKind`]): one fault of the
//! feed is one kind of finding, so that a report says what went wrong and not what follows from it.
//!
//! Memory: one million events of 100,000 keys, each in a transaction of its own, took 135 MB at the
//! peak, while the history was sorted, and less than 70 MB from then on. Records are not kept.

pub(crate) mod history;
mod judge;
pub(crate) mod observed;
pub(crate) mod transactions;
pub(crate) mod verdict;

#[cfg(test)]
mod tests;

pub use history::{Expected, History};
pub use judge::{Delivery, Judge};
pub use observed::Observed;
pub use verdict::{Counts, Finding, FindingKind, RecordPlace, Verdict};
