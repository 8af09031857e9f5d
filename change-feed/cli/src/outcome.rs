//! How the program ended, for people and for the shell.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use change_feed::{Position, PublishError, RelayError, SourceError};

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const FAILED_CLOSED: u8 = 3;

/// How the program ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It ended on request and published everything that it had captured.
    Drained(Position),
    /// It ended on request before it had published everything that it had captured; the next run does.
    Undrained(Position),
    /// The options, the configuration file or the environment were wrong.
    WrongUsage(UsageError),
    /// Going on could lose or invent a change, or an envelope can't be published: somebody must act.
    FailedClosed(String),
    /// Another failure.
    Failed(String),
}

/// Options that can't be run. Its text never shows a password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(String);

impl UsageError {
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl Outcome {
    pub(crate) fn failed(what: &str, error: impl Error + 'static) -> Self {
        Self::Failed(format!("{what}: {}", one_line(&error)))
    }

    /// Prints what happened and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (code, text) = match self {
            Self::Drained(position) => {
                tracing::info!(%position, "drained");
                return ExitCode::SUCCESS;
            }
            Self::Undrained(position) => {
                tracing::warn!(%position, "ended before everything captured was published; the next run publishes the rest");
                return ExitCode::SUCCESS;
            }
            Self::WrongUsage(error) => (WRONG_USAGE, error.to_string()),
            Self::FailedClosed(text) => (FAILED_CLOSED, text),
            Self::Failed(text) => (FAILED, text),
        };
        // Where standard error is closed, the exit code is all that is left.
        let _ = writeln!(std::io::stderr().lock(), "change-feed: {text}");
        ExitCode::from(code)
    }
}

impl From<UsageError> for Outcome {
    fn from(error: UsageError) -> Self {
        Self::WrongUsage(error)
    }
}

impl From<RelayError> for Outcome {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Fenced => Self::Failed(
                "another relay of this feed took over, and this one stopped; run it again to stand by".to_owned(),
            ),
            RelayError::Closed { .. } | RelayError::Rejected { .. } => Self::FailedClosed(format!(
                "failed closed: {}. The feed published nothing after this; it stops at every start until this is settled",
                one_line(&error).trim_end_matches('.')
            )),
            error => Self::Failed(one_line(&error)),
        }
    }
}

impl From<SourceError> for Outcome {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Closed(mismatch) => RelayError::from(mismatch).into(),
            error => Self::Failed(one_line(&error)),
        }
    }
}

impl From<PublishError> for Outcome {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Closed(mismatch) => RelayError::from(mismatch).into(),
            error => Self::Failed(one_line(&error)),
        }
    }
}

/// Writes an error and its causes in one line, without a cause that repeats the text before it.
pub(crate) fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            // Writing to a String can't fail.
            let _ = write!(text, ": {words}");
        }
        source = cause.source();
    }
    text
}
