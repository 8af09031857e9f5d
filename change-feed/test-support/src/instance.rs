//! Servers of a test's own.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::authority::Authority;
use crate::database::execute;
use crate::environment::{required, workspace};

/// Servers of a test's own, which it may crash and whose files it may change. They end, and their data goes, when this is
/// dropped.
pub struct Instance {
    home: PathBuf,
    environment: HashMap<String, String>,
    /// PostgreSQL's.
    pub(crate) program: PathBuf,
}

impl Instance {
    /// Starts a PostgreSQL of the release that all tests run on, in a folder of this name.
    pub async fn start(name: &str) -> Self {
        let mut shared = PgConnection::connect(&required("DATABASE_URL")).await.expect("the shared server");
        let query = "select current_setting('server_version_num')::int / 10000";
        let release: i32 = sqlx::query_scalar(query).fetch_one(&mut shared).await.expect("the release");
        shared.close().await.expect("the connection ends");
        Self::up(name, &["--brokers", "0", "--postgres", &release.to_string()]).await
    }

    /// Starts a PostgreSQL and this number of brokers, in a folder of this name.
    pub async fn with_brokers(name: &str, brokers: u32) -> Self {
        // A 4.3 forgets a commit where a partition has no leader (KAFKA-20734), as here when the only broker is away, or
        // when a loaded machine keeps the last two from their heartbeats: what its readers never see then looks lost, and is.
        Self::up(name, &["--kafka", "4.2", "--brokers", &brokers.to_string()]).await
    }

    async fn up(name: &str, options: &[&str]) -> Self {
        let home = workspace().join("target/services-private").join(name);
        let mut instance = Self { home, environment: HashMap::new(), program: PathBuf::new() };
        // What a failed run may have left.
        instance.services(&["down", "--delete"]).await;
        instance.services(&[&["up"], options].concat()).await;
        let exports = instance.services(&["env"]).await;
        let exports = exports.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        // The shell's quotes and backslashes, as before the comma of a list, are no part of a value.
        let unquoted = |value: &str| value.trim_matches('\'').replace('\\', "");
        instance.environment = exports.map(|(name, value)| (name.to_owned(), unquoted(value))).collect();
        let process = instance.process().await.as_raw_pid();
        instance.program = fs::read_link(format!("/proc/{process}/exe")).expect("PostgreSQL's program");
        instance
    }

    /// A value that `scripts/services` exports: `DATABASE_URL` of the role that owns databases, `ADMIN_DATABASE_URL`.
    pub fn url(&self, variable: &str) -> &str {
        self.environment.get(variable).unwrap_or_else(|| panic!("no {variable} in {:?}", self.environment))
    }

    /// The administrator's URL.
    pub fn admin_url(&self) -> &str {
        self.url("ADMIN_DATABASE_URL")
    }

    /// The addresses of the brokers.
    pub fn brokers(&self) -> &str {
        self.url("KAFKA_BROKERS")
    }

    /// The folder of PostgreSQL's Unix socket.
    pub fn socket_folder(&self) -> &str {
        self.url("PG_SOCKET_DIR")
    }

    /// The port of PostgreSQL.
    pub fn port(&self) -> &str {
        let address = self.admin_url().rsplit_once('@').expect("a user").1;
        address.split_once(':').expect("a port").1.split_once('/').expect("a database").0
    }

    /// Does `stop`, `kill` or `start` to `postgres`, `kafka` (every broker) or `kafka-1`.
    pub async fn tell(&self, command: &str, server: &str) {
        self.services(&[command, server]).await;
    }

    /// Does `stop`, `kill` or `start` to PostgreSQL.
    pub async fn server(&self, command: &str) {
        self.tell(command, "postgres").await;
    }

    /// Ends PostgreSQL at once and starts it again: what was not on its disk is gone.
    pub async fn crash(&self) {
        self.server("kill").await;
        self.server("start").await;
    }

    /// Puts these lines before those of PostgreSQL's `pg_hba.conf`.
    pub async fn admit(&self, lines: &str) {
        let present = fs::read_to_string(self.data().join("pg_hba.conf")).expect("pg_hba.conf");
        self.write("pg_hba.conf", &format!("{lines}\n{present}"));
        self.reload().await;
    }

    /// Gives PostgreSQL TLS, as `localhost` by this authority, which it trusts with its clients too. The server reads its
    /// files when it comes to it.
    pub async fn encrypt(&self, authority: &Authority) {
        let (certificate, key) = authority.certify("localhost");
        self.write("server.crt", &certificate);
        self.write("server.key", &key);
        self.write("clients.crt", &authority.certificate);
        let mut admin = PgConnection::connect(self.admin_url()).await.expect("the server");
        for setting in ["ssl_ca_file = 'clients.crt'", "ssl = on"] {
            execute(&mut admin, &format!("alter system set {setting}")).await;
        }
        admin.close().await.expect("the connection ends");
        self.reload().await;
    }

    /// Writes a file into PostgreSQL's folder, for the server alone.
    pub fn write(&self, name: &str, content: &str) {
        let file = self.data().join(name);
        fs::write(&file, content).expect(name);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("permissions");
        let owner = fs::metadata(self.data()).expect("the server's folder");
        chown(&file, Some(owner.uid()), Some(owner.gid())).expect("the server's own");
    }

    /// Lets PostgreSQL read its configuration again.
    pub async fn reload(&self) {
        kill_process(self.process().await, Signal::HUP).expect("the signal is sent");
    }

    /// The folder of PostgreSQL's data.
    pub(crate) fn data(&self) -> PathBuf {
        let state = fs::read_to_string(self.home.join("instance")).expect("the instance's file");
        let folder = state.lines().find_map(|line| line.split_once("postgres_folder=")).expect("the server's folder").1;
        Path::new(folder.trim_matches(['"', '\''])).join("data")
    }

    async fn process(&self) -> Pid {
        let pids = self.services(&["pids"]).await;
        let process = pids.lines().find_map(|line| line.strip_prefix("postgres ")).expect("PostgreSQL runs");
        Pid::from_raw(process.trim().parse().expect("a number")).expect("not zero")
    }

    async fn services(&self, arguments: &[&str]) -> String {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it does not panic");
        let output = output.expect("scripts/services");
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "scripts/services {arguments:?}: {out}{error}");
        out.into_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(workspace().join("scripts/services"));
        command.args(arguments).env("SERVICES_HOME", &self.home);
        command
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // After a failure the logs stay. Nothing is checked here: a second panic would hide the first.
        let last: &[&str] = if std::thread::panicking() { &["down"] } else { &["down", "--delete"] };
        let _: std::io::Result<Output> = self.command(last).output();
    }
}
