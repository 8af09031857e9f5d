//! The ways to run the rival.

use std::fmt;

use crate::dataset::TABLE;

/// A way to run the rival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Rows as JSON, by a standalone worker: after a crash, records come again.
    AtLeastOnce,
    /// Rows as JSON, by a distributed worker with exactly-once support.
    ExactlyOnce,
    /// The outbox through the Outbox Event Router, by a standalone worker.
    Router,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::AtLeastOnce, Self::ExactlyOnce, Self::Router];

    /// The topic of its records, for a connector with this prefix.
    pub(crate) fn topic(self, prefix: &str) -> String {
        match self {
            Self::AtLeastOnce | Self::ExactlyOnce => format!("{prefix}.{TABLE}"),
            Self::Router => format!("{prefix}.events"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeastOnce => "tuned, rows, at least once",
            Self::ExactlyOnce => "tuned, rows, exactly once",
            Self::Router => "tuned, outbox router, at least once",
        })
    }
}
