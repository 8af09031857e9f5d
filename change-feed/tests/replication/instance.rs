//! A PostgreSQL of a test's own, whose files it may change and which it may stop.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::replication::database::shared_url;

/// A PostgreSQL of the release that all tests run on; it ends and its data goes when this is dropped.
pub(crate) struct Instance {
    home: PathBuf,
    environment: HashMap<String, String>,
}

impl Instance {
    pub(crate) async fn start(name: &str) -> Self {
        let mut shared = PgConnection::connect(&shared_url()).await.expect("the shared server");
        let query = "SELECT current_setting('server_version_num')::int / 10000";
        let release: i32 = sqlx::query_scalar(query).fetch_one(&mut shared).await.expect("the release");
        let home = workspace().join("target/services-private").join(name);
        let mut instance = Self { home, environment: HashMap::new() };
        // What a failed run may have left.
        instance.services(&["down", "--delete"]);
        instance.services(&["up", "--brokers", "0", "--postgres", &release.to_string()]);
        let exports = instance.services(&["env"]);
        let exports = exports.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        instance.environment =
            exports.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect();
        instance
    }

    /// The administrator's URL.
    pub(crate) fn admin_url(&self) -> &str {
        &self.environment["ADMIN_DATABASE_URL"]
    }

    /// The folder of the server's Unix socket.
    pub(crate) fn socket_folder(&self) -> &str {
        &self.environment["PG_SOCKET_DIR"]
    }

    pub(crate) fn port(&self) -> &str {
        let address = self.admin_url().rsplit_once('@').expect("a user").1;
        address.split_once(':').expect("a port").1.split_once('/').expect("a database").0
    }

    /// `stop`, `kill` or `start`.
    pub(crate) fn server(&self, command: &str) {
        self.services(&[command, "postgres"]);
    }

    /// Puts these lines before those of the server's `pg_hba.conf`.
    pub(crate) fn admit(&self, lines: &str) {
        let file = self.data().join("pg_hba.conf");
        let present = fs::read_to_string(&file).expect("pg_hba.conf");
        self.write("pg_hba.conf", &format!("{lines}\n{present}"));
        self.reload();
    }

    /// Writes a file into the server's folder, for the server alone.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let file = self.data().join(name);
        fs::write(&file, content).expect(name);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("permissions");
        let owner = fs::metadata(self.data()).expect("the server's folder");
        std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).expect("the server's own");
    }

    pub(crate) fn reload(&self) {
        kill_process(self.process(), Signal::HUP).expect("the server is told");
    }

    fn process(&self) -> Pid {
        let pids = self.services(&["pids"]);
        let process = pids.lines().find_map(|line| line.strip_prefix("postgres ")).expect("PostgreSQL runs");
        Pid::from_raw(process.trim().parse().expect("a number")).expect("not zero")
    }

    fn data(&self) -> PathBuf {
        let state = fs::read_to_string(self.home.join("instance")).expect("the instance's file");
        let folder = state.lines().find_map(|line| line.split_once("postgres_folder=")).expect("the server's folder").1;
        Path::new(folder.trim_matches(['"', '\''])).join("data")
    }

    fn services(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(workspace().join("scripts/services"));
        let output = command.args(arguments).env("SERVICES_HOME", &self.home).output().expect("scripts/services");
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "scripts/services {arguments:?}: {out}{error}");
        out.into_owned()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // After a failure the log stays. Nothing is checked here: a second panic would hide the first.
        let last: &[&str] = if std::thread::panicking() { &["down"] } else { &["down", "--delete"] };
        let mut command = Command::new(workspace().join("scripts/services"));
        let _ = command.args(last).env("SERVICES_HOME", &self.home).output();
    }
}

/// A process that stands still until this is dropped.
pub(crate) struct Frozen(Pid);

impl Frozen {
    pub(crate) fn freeze(process: &str) -> Self {
        let process = Pid::from_raw(process.parse().expect("a number")).expect("not zero");
        kill_process(process, Signal::STOP).expect("a process that may be stopped");
        Self(process)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the workspace").to_owned()
}
