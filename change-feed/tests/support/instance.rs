//! A PostgreSQL of a test's own, which may be crashed.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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

    /// A URL that `scripts/services` exports: `DATABASE_URL` of the role that owns databases, or `ADMIN_DATABASE_URL`.
    pub(crate) fn url(&self, variable: &str) -> &str {
        &self.environment[variable]
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
}

/// The server as a standby that waits for the log of a primary; ended when this is dropped.
pub(crate) struct Standby {
    server: Child,
    signal: PathBuf,
}

impl Standby {
    /// On the data of a server that was stopped, as the user who owns them.
    pub(crate) fn start(instance: &Instance, port: u16) -> Self {
        let data = instance.home.join("postgres/data");
        let owner = std::fs::metadata(&data).expect("the data");
        let signal = data.join("standby.signal");
        std::fs::write(&signal, "").expect("the sign of a standby");
        std::os::unix::fs::chown(&signal, Some(owner.uid()), Some(owner.gid())).expect("the owner of the data");
        let mut server = Command::new(&instance.program);
        server.arg("-D").arg(&data).args(["-c", &format!("port={port}"), "-c", "unix_socket_directories="]);
        server.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
        if owner.uid() != std::fs::metadata("/proc/self").expect("this process").uid() {
            server.uid(owner.uid()).gid(owner.gid());
        }
        Self { server: server.spawn().expect("the server"), signal }
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        // SIGINT is the fast shutdown; the server ends its own children.
        let _: std::io::Result<_> = Command::new("kill").args(["-INT", &self.server.id().to_string()]).status();
        let _: std::io::Result<_> = self.server.wait();
        let _: std::io::Result<_> = std::fs::remove_file(&self.signal);
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
