//! What the surroundings of a test give it.

use std::path::{Path, PathBuf};

/// The value of a variable that names a server.
pub fn required(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test, or eval \"$(scripts/services env)\""))
}

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
