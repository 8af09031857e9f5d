//! The contracts of [`Source`](crate::source::Source) and [`Publisher`](crate::publisher::Publisher) as suites that an
//! implementer runs.
//!
//! An implementer writes a *harness*: how to make one in a fresh place, and how to see from outside
//! what it did. [`publisher::run`] and [`source::run`] then check one rule of the contract after
//! another, each in a place of its own, and report all of them:
//!
//! ```text
//! kept           durable-at-complete-end
//! BROKEN         order-per-key: key k3: event 2 of the part stands before event 1
//! not applicable resume-shuts-out-earlier-relays: it does not fence
//! ```
//!
//! A rule that rests on a broken one is reported as undecided, so that a report names the fault and
//! not its consequences.
//!
//! The suites are themselves tested: with sources and publishers that are broken on purpose, of
//! which each breaks exactly its rule.

pub mod publisher;
pub(crate) mod report;
pub(crate) mod rule;
pub mod source;

pub use report::{NotConforming, Outcome, Report, RuleBroken, RuleOutcome};
pub use rule::HarnessError;
