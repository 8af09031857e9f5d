//! Somebody adds the crates to a workspace of their own and writes the snippets of the README: it compiles.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = include_str!("user_workspace/src/main.rs");
const MANIFEST: &str = include_str!("user_workspace/Cargo.toml");
const README: &str = include_str!("../../README.md");

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the examples are a folder of the repository")
}

/// Where this test itself was built, so that what both need is built once.
fn target() -> PathBuf {
    let this = std::env::current_exe().expect("a test knows where it is");
    this.ancestors().nth(3).expect("target/PROFILE/deps/TEST").to_owned()
}

#[test]
fn the_crates_are_added_to_another_workspace_and_compile_there() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("src")).expect("a folder");
    let manifest = MANIFEST.replace("REPOSITORY", repository().to_str().expect("a path that is text"));
    fs::write(folder.path().join("Cargo.toml"), manifest).expect("written");
    fs::write(folder.path().join("src/main.rs"), PROGRAM).expect("written");
    // The versions that everything else here is tested with; and what is built already is not built again.
    fs::copy(repository().join("Cargo.lock"), folder.path().join("Cargo.lock")).expect("copied");
    let output = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--manifest-path"])
        .arg(folder.path().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn that_program_has_each_line_of_the_readmes_snippets() {
    let lines: Vec<&str> = README
        .split("```rust\n")
        .skip(1)
        .flat_map(|rest| rest.split("```").next().unwrap_or_default().lines())
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert!(lines.len() > 20, "the README shows how to use the crates");
    let missing: Vec<_> = lines.iter().filter(|line| !PROGRAM.contains(**line)).collect();
    assert!(missing.is_empty(), "only in the README: {missing:#?}");
}
