//! An error in one line.

use std::error::Error;
use std::fmt::Write as _;

/// An error and its causes. A cause that repeats what stands before it is left out.
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
