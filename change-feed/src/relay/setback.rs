//! What ends a session of the relay: the whole retry policy.

use std::error::Error;
use std::fmt::Write as _;

use super::error::RelayError;
use crate::publisher::PublishError;
use crate::source::SourceError;

/// What ends a session, by what the relay does next.
#[derive(Debug)]
pub(super) enum Setback {
    /// A new session, after a pause.
    Again {
        /// Which side it happened on.
        side: &'static str,
        /// What happened there.
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A new session at once: an envelope was rejected and will be withheld.
    Rewind,
    /// The relay ends.
    Stop(RelayError),
}

impl From<SourceError> for Setback {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Transient(cause) => Self::Again { side: "source", cause },
            SourceError::Closed(mismatch) => Self::Stop(mismatch.into()),
            SourceError::Fatal { what, remedy, source } => {
                Self::Stop(RelayError::Fatal { what: format!("{what}; {remedy}"), source })
            }
        }
    }
}

impl From<PublishError> for Setback {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Transient(cause) => Self::Again { side: "publisher", cause },
            PublishError::Fenced => Self::Stop(RelayError::Fenced),
            PublishError::Closed(mismatch) => Self::Stop(mismatch.into()),
            PublishError::Fatal { what, source } => Self::Stop(RelayError::Fatal { what, source }),
            // The pump knows which envelopes they are and withholds them itself.
            PublishError::Rejected(_) => Self::Stop(RelayError::Fatal {
                what: "the publisher rejected an envelope that it was not given: the publisher is wrong".to_owned(),
                source: None,
            }),
        }
    }
}

impl From<RelayError> for Setback {
    fn from(error: RelayError) -> Self {
        Self::Stop(error)
    }
}

/// An error and its causes on one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String can't fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
