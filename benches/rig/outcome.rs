//! Errors: the rig passes them on and prints them; it never handles them by kind.

use std::error::Error;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

pub(crate) type Outcome<T> = Result<T, Failure>;

/// Writes an error and its causes in one line, without causes that the text before them contains already.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}
