//! What the storefront writes for the person who started it.

use std::error::Error;
use std::fmt::{Display, Write as _};
use std::io::Write as _;

/// Writes a line on standard output. The storefront goes on if standard output was closed.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes a line about a problem on standard error.
pub(crate) fn warn(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Joins an error and its causes to one line, without causes that the text before them contains already.
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
