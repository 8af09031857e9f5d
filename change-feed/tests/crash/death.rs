//! Relays that die at a named step.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

use super::assignment::Mode;

/// A step on the way from the database to Kafka and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// The relay has been given changes and has done nothing with them.
    Decoded,
    /// A part's records are on their way to the brokers.
    Sent,
    /// All is sent, the position too, and the commit is not asked for.
    BeforeCommit,
    /// The brokers have said that all of a part is durable, and nobody else knows.
    AfterCommit,
    /// The relay knows, and the source is not told.
    BeforeAcknowledge,
}

/// How a relay process ends itself: by `kill -9`, in the midst of a step.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Death {
    pub(crate) step: Step,
    /// So many times it comes to the step; the last time it dies.
    pub(crate) passage: u32,
    /// It stands at the step for so long first, while its other threads go on: what was sent may arrive.
    pub(crate) linger_ms: u64,
}

impl Step {
    /// The steps that a relay of this mode comes to.
    pub(crate) fn of(mode: Mode) -> &'static [Self] {
        match mode {
            Mode::Transactional => {
                &[Self::Decoded, Self::Sent, Self::BeforeCommit, Self::AfterCommit, Self::BeforeAcknowledge]
            }
            Mode::Idempotent => &[Self::Decoded, Self::Sent, Self::AfterCommit, Self::BeforeAcknowledge],
        }
    }

    /// The failpoint in the library.
    fn failpoint(self) -> &'static str {
        match self {
            Self::Decoded => "decoded",
            Self::Sent => "sent",
            Self::BeforeCommit => "before_commit",
            Self::AfterCommit => "after_commit",
            Self::BeforeAcknowledge => "before_acknowledge",
        }
    }
}

impl Death {
    /// Makes this process die so.
    pub(crate) fn await_this_process(self) {
        let passages = AtomicU32::new(0);
        let dies = move || {
            if passages.fetch_add(1, Ordering::Relaxed) + 1 < self.passage {
                return;
            }
            std::thread::sleep(Duration::from_millis(self.linger_ms));
            tracing::warn!("{self}");
            kill_process(getpid(), Signal::KILL).expect("this process");
        };
        fail::cfg_callback(self.step.failpoint(), dies).expect("a failpoint can be set");
    }
}

/// What the process says last.
impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dies at {:?}, the {}. time, after {} ms", self.step, self.passage, self.linger_ms)
    }
}
