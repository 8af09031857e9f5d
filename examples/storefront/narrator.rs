//! Tells whoever started the storefront what becomes of the feed.

use crate::feed::{FeedState, FeedWatch};
use crate::say::{say, warn};

/// Says each change of the feed until it ends: what is wrong on standard error, loudly, and what is well again.
pub(crate) async fn narrate(mut feed: FeedWatch) {
    let mut told = FeedState::Starting;
    let (mut in_trouble, mut stood_by) = (false, false);
    while let Some(state) = feed.other_than(&told).await {
        match &state {
            FeedState::Closed { reason, remedy } => warn(format_args!(
                "\n*** THE FEED HAS FAILED CLOSED. Orders are safe and go on; their events wait in the database.\n    \
                 why:    {reason}\n    remedy: {remedy}; then start the storefront again\n"
            )),
            FeedState::Failed { cause } if told.name() != state.name() => warn(format_args!(
                "\n*** THE FEED CAN'T RUN. Orders are safe and go on; their events wait in the database.\n    \
                 why: {cause}\n    It is tried again from time to time.\n"
            )),
            FeedState::Retrying { cause } if !in_trouble => warn(format_args!(
                "feed: interrupted; orders go on, their events wait in the database and follow in order: {cause}"
            )),
            FeedState::Relaying if in_trouble => say("feed: it is back; what waited is being published, in order"),
            FeedState::Relaying if stood_by => say(format_args!("feed: {}", state.words())),
            FeedState::StandingBy => say(format_args!("feed: {}", state.words())),
            _ => {}
        }
        match state {
            FeedState::Retrying { .. } | FeedState::Failed { .. } => in_trouble = true,
            FeedState::StandingBy => (in_trouble, stood_by) = (false, true),
            FeedState::Relaying => (in_trouble, stood_by) = (false, false),
            _ => {}
        }
        told = state;
    }
}
