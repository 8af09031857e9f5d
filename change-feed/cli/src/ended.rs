//! How the program ended, for people and for the shell.

use std::error::Error;
use std::process::ExitCode;

use change_feed::{Position, RelayError, SourceError};

use crate::chain::chain;
use crate::plan::UsageError;

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const FAILED_CLOSED: u8 = 3;

/// How the program ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was told to end, and did.
    Drained(Position),
    /// It was told to end, and could not deliver all that it had captured; the next run does.
    Undrained(Position),
    /// It was told something that can't be done.
    WrongUsage(UsageError),
    /// Something under the feed is not what it was, or an envelope can't be published: somebody must act.
    FailedClosed(String),
    /// Anything else.
    Failed(String),
}

/// A failure with its cause.
pub(crate) fn failed(what: &str, error: impl Error + 'static) -> Ended {
    Ended::Failed(format!("{what}: {}", chain(&error)))
}

impl Ended {
    /// Tells people why, and the shell by which code.
    pub(crate) fn tell(self) -> ExitCode {
        let (code, words) = match self {
            Self::Drained(position) => {
                tracing::info!(%position, "drained");
                return ExitCode::SUCCESS;
            }
            Self::Undrained(position) => {
                tracing::warn!(%position, "ended before everything captured was published; the next run goes on there");
                return ExitCode::SUCCESS;
            }
            Self::WrongUsage(error) => (WRONG_USAGE, error.to_string()),
            Self::FailedClosed(words) => (FAILED_CLOSED, words),
            Self::Failed(words) => (FAILED, words),
        };
        say(&words);
        ExitCode::from(code)
    }
}

fn say(words: &str) {
    use std::io::Write as _;
    // Nobody is left to be told if that fails.
    let _ = writeln!(std::io::stderr().lock(), "change-feed: {words}");
}

impl From<RelayError> for Ended {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Fenced => Self::Failed("another relay of this feed took over".to_owned()),
            RelayError::Closed { .. } | RelayError::Rejected { .. } => {
                Self::FailedClosed(format!("failed closed, and nothing is lost: {}", chain(&error)))
            }
            error => Self::Failed(chain(&error)),
        }
    }
}

impl From<SourceError> for Ended {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Closed(mismatch) => RelayError::from(mismatch).into(),
            error => Self::Failed(chain(&error)),
        }
    }
}
