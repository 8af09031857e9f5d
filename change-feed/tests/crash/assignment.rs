//! What a relay process is told to do.

use std::fmt;

use change_feed::FeedName;
use change_feed::judge::Delivery;
use serde::{Deserialize, Serialize};

use super::death::Death;
use super::flaw::Flaw;

/// The environment variable that makes a process of this test a relay.
pub(crate) const ASSIGNMENT: &str = "CRASH_TEST_RELAY";

/// What a relay process is told to do, as JSON in its environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) feed: FeedName,
    pub(crate) topic: String,
    pub(crate) capture: Capture,
    pub(crate) database_url: String,
    pub(crate) mode: Mode,
    pub(crate) brokers: String,
    pub(crate) flaw: Option<Flaw>,
    pub(crate) death: Option<Death>,
}

/// Where the relay captures from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Capture {
    PostgresPoll,
    PostgresLog,
    Sqlite,
}

impl Capture {
    /// The variable of the environment with the server's URL: whoever reads the log must be allowed to.
    pub(crate) fn url_variable(self) -> &'static str {
        match self {
            Self::PostgresLog => "ADMIN_DATABASE_URL",
            Self::PostgresPoll | Self::Sqlite => "DATABASE_URL",
        }
    }
}

/// How the relay publishes to Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    Transactional,
    Idempotent,
}

impl Assignment {
    /// What this process is told to do, if it is a relay.
    pub(crate) fn of_this_process() -> Option<Self> {
        let json = std::env::var(ASSIGNMENT).ok()?;
        Some(serde_json::from_str(&json).expect("an assignment"))
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("an assignment is JSON")
    }
}

impl Mode {
    /// What it promises.
    pub(crate) fn delivery(self) -> Delivery {
        match self {
            Self::Transactional => Delivery::ExactlyOnce,
            Self::Idempotent => Delivery::AtLeastOnce,
        }
    }
}

impl fmt::Display for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PostgresPoll => "PostgreSQL poll",
            Self::PostgresLog => "PostgreSQL log",
            Self::Sqlite => "SQLite",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transactional => "transactional",
            Self::Idempotent => "idempotent",
        })
    }
}
