//! What the storefront writes for the person who started it.

use std::error::Error;
use std::fmt::{Display, Write as _};
use std::io::Write as _;

use crate::feed::{FeedState, FeedWatch};

/// Writes a line on standard output. If nobody reads it any more, the storefront serves all the same.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes a line on standard error: something is wrong.
pub(crate) fn warn(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// An error and its causes in one line. A cause that repeats the words before it is left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
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

/// Reports each change of the feed until it ends: trouble on standard error, and when it is over.
pub(crate) async fn report_feed(mut feed: FeedWatch) {
    let mut reported = FeedState::Starting;
    let (mut in_trouble, mut stood_by) = (false, false);
    while let Some(state) = feed.other_than(&reported).await {
        match &state {
            FeedState::Closed { reason, remedy } => warn(format_args!(
                "\n*** THE FEED HAS FAILED CLOSED. Orders are safe and go on; their events wait in the database.\n    \
                 why:    {reason}\n    remedy: {remedy}; then start the storefront again\n"
            )),
            FeedState::Failed { cause } if reported.name() != state.name() => warn(format_args!(
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
        reported = state;
    }
}
