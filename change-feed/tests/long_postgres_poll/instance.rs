//! A PostgreSQL of a test's own, which may be crashed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A PostgreSQL of a test's own; it ends and its data goes when this is dropped.
pub(crate) struct Instance {
    home: PathBuf,
    environment: HashMap<String, String>,
    program: PathBuf,
}

impl Instance {
    pub(crate) fn start(name: &str) -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let home = workspace.join("target/services-private").join(name);
        let mut instance = Self { home, environment: HashMap::new(), program: PathBuf::new() };
        services(&instance.home, &["up"]);
        // The recipe brings a broker along; nobody here needs it.
        services(&instance.home, &["kill", "kafka"]);
        let exports = services(&instance.home, &["env"]);
        let exports = exports.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let unquoted = exports.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()));
        instance.environment = unquoted.collect();
        let pids = services(&instance.home, &["pids"]);
        let process = pids.lines().find_map(|line| line.strip_prefix("postgres ")).expect("PostgreSQL runs");
        instance.program = std::fs::read_link(format!("/proc/{}/exe", process.trim())).expect("its program");
        instance
    }

    /// The URL of the role that owns databases.
    pub(crate) fn url(&self) -> &str {
        &self.environment["DATABASE_URL"]
    }

    /// Ends the server at once and starts it again: what was not on its disk is gone.
    pub(crate) async fn crash(&self) {
        self.server("kill").await;
        self.server("start").await;
    }

    /// `stop`, `start` or `kill`.
    pub(crate) async fn server(&self, command: &'static str) {
        let home = self.home.clone();
        let done = tokio::task::spawn_blocking(move || services(&home, &[command, "postgres"]));
        done.await.expect("the server obeys");
    }

    /// The server's own program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.home.join("postgres/data")
    }
}

fn services(home: &Path, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/services");
    let output = Command::new(script).args(arguments).env("SERVICES_HOME", home).output().expect("scripts/services");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "scripts/services {arguments:?}: {out}{error}");
    out.into_owned()
}

impl Drop for Instance {
    fn drop(&mut self) {
        services(&self.home, &["down", "--delete"]);
    }
}
