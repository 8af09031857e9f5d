//! Why a source can't go on, by what the caller does next.

use std::error::Error;

use crate::Mismatch;

/// Why a source can't go on, by what the caller does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Again, from the election on: the database is away, or the election was lost.
    #[error("the source is not available at present; nothing is lost, the relay tries again")]
    Transient(#[source] Box<dyn Error + Send + Sync>),
    /// The stored position and this source don't belong together.
    #[error("the feed can't go on from its position")]
    Closed(#[from] Mismatch),
    /// Stop: trying again changes nothing before somebody changes the set-up.
    #[error("{what}; {remedy}")]
    Fatal {
        /// What is wrong.
        what: String,
        /// What to do about it.
        remedy: String,
        /// What the database said, where it said something.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl SourceError {
    /// Again, from the election on.
    pub fn transient(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Transient(source.into())
    }

    /// Stop, and say what to do.
    pub fn fatal(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Fatal { what: what.into(), remedy: remedy.into(), source: None }
    }
}
