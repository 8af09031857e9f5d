//! Why a part was not published, by what the relay does next.

use std::error::Error;

use crate::Mismatch;

/// Why a part was not published, by what the relay does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Again, after a pause: the broker is away or busy.
    #[error("the broker is not available at present; nothing is lost, the relay tries again")]
    Transient(#[source] Box<dyn Error + Send + Sync>),
    /// Envelopes of this part that can't be published, now or later: the relay withholds them or
    /// stops. Nothing of the part was published.
    #[error("{} of the part can't be published", count(.0))]
    Rejected(Vec<Rejection>),
    /// Another relay of the same feed took over.
    #[error("another relay of this feed took over")]
    Fenced,
    /// What the publisher holds doesn't belong to this feed.
    #[error("the feed can't go on from its position")]
    Closed(#[from] Mismatch),
    /// Stop: trying again changes nothing before somebody changes the set-up.
    #[error("{what}")]
    Fatal {
        /// What is wrong and what to do about it.
        what: String,
        /// What the broker said, where it said something.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl PublishError {
    /// Again, after a pause.
    pub fn transient(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Transient(source.into())
    }

    /// The envelope at `index` can't be published. `reason` is published in its place: it must
    /// hold nothing of the payload.
    pub fn rejected(index: usize, reason: impl Into<String>) -> Self {
        Self::Rejected(vec![Rejection { index, reason: reason.into() }])
    }

    /// Stop.
    pub fn fatal(what: impl Into<String>) -> Self {
        Self::Fatal { what: what.into(), source: None }
    }
}

/// An envelope that can't be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Its index in the part.
    pub index: usize,
    /// Why, in words that may be published.
    pub reason: String,
}

fn count(rejections: &[Rejection]) -> String {
    match rejections {
        [only] => format!("envelope {} ({})", only.index, only.reason),
        many => format!("{} envelopes", many.len()),
    }
}
