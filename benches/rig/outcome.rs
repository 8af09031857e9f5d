//! What can go wrong: the rig measures, and says why it could not.

use std::error::Error;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

pub(crate) type Outcome<T> = Result<T, Failure>;

/// An error and its causes in one line. A cause that repeats what stands before it is left out.
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
