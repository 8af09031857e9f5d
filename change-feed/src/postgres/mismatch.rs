//! Why a feed fails closed at its server.

use crate::feed::mismatch::Mismatch;
use crate::source::SourceError;

/// Not set up as the feed needs it.
pub(crate) fn unfit(what: impl Into<String>, remedy: impl Into<String>) -> SourceError {
    SourceError::Closed(Mismatch::SourceUnfit { what: what.into(), remedy: remedy.into() })
}
