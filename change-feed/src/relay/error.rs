//! Why a relay ended, by what its owner does next.

use std::error::Error;

use crate::feed::event::EventId;
use crate::feed::mismatch::Mismatch;
use crate::feed::position::Position;
use crate::feed::router::NoRoute;

/// Why a relay ended, by what its owner does next.
///
/// Nothing is lost by any of them: what was not published stands in the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// Another relay of the same feed took over. Leave it to that one, or run this one again: it
    /// then stands by.
    #[error("another relay of this feed took over")]
    Fenced,
    /// Something under the feed is no longer what it was, so it fails closed rather than lose or
    /// invent a change. Do what `remedy` says.
    #[error("{reason}; {remedy}")]
    Closed {
        /// What doesn't fit.
        reason: Box<Mismatch>,
        /// What to do about it.
        remedy: String,
    },
    /// An envelope can't be published, and the relay was told to stop rather than to withhold it,
    /// or its withheld stub can't be published either.
    #[error("{} can't be published{}: {reason}", name(.event_id.as_ref(), .position), if *.withheld { ", not even without its data" } else { "" })]
    Rejected {
        /// The event's id; `None` for what is not an event.
        event_id: Option<EventId>,
        /// Where the change stands in the source.
        position: Position,
        /// What the publisher says.
        reason: String,
        /// Whether it was the withheld stub that was rejected.
        withheld: bool,
    },
    /// Running it again changes nothing before somebody changes the set-up.
    #[error("{what}")]
    Fatal {
        /// What is wrong and what to do about it.
        what: String,
        /// What the database or the broker said, where it said something.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl From<Mismatch> for RelayError {
    fn from(reason: Mismatch) -> Self {
        let remedy = reason.remedy();
        Self::Closed { reason: Box::new(reason), remedy }
    }
}

impl From<NoRoute> for RelayError {
    fn from(change: NoRoute) -> Self {
        let what = format!("{change}: give the router a topic for it, or don't let the source capture it");
        Self::Fatal { what, source: None }
    }
}

fn name(event_id: Option<&EventId>, position: &Position) -> String {
    match event_id {
        Some(event_id) => format!("event {event_id} at {position}"),
        None => format!("the change at {position}"),
    }
}
