//! What the storefront says to whoever started it.

use std::fmt::Display;
use std::io::Write as _;

/// A line on standard output. Nobody may be listening any more: a shop doesn't close for that.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on standard error: something is wrong.
pub(crate) fn warn(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
