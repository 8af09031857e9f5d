//! Servers of a test's own, which it may crash.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::assignment::Capture;

/// A PostgreSQL and a Kafka of a test's own, which it may crash. They end when this is dropped.
pub(crate) struct Servers {
    home: PathBuf,
    database_url: String,
    admin_database_url: String,
    pub(crate) brokers: String,
}

/// The URL of the servers that all tests share.
pub(crate) fn shared(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test, or eval \"$(scripts/services env)\""))
}

impl Servers {
    pub(crate) async fn start(name: &str, brokers: u32) -> Self {
        let home = workspace().join("target/services-private").join(name);
        // A 4.3 forgets a commit where a partition has no replica left (KAFKA-20734), as it is when the only broker is
        // away: what its readers never see then looks lost, and is.
        let kafka = if brokers > 1 { "4.3" } else { "4.2" };
        services(&home, &["up", "--kafka", kafka, "--brokers", &brokers.to_string()]).await;
        let exports = services(&home, &["env"]).await;
        let exported = |name: &str| {
            let assignments = exports.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
            let mut values = assignments.filter(|(variable, _)| *variable == name);
            values.next().unwrap_or_else(|| panic!("no {name} in {exports:?}")).1.to_owned()
        };
        let (database_url, admin_database_url) = (exported("DATABASE_URL"), exported("ADMIN_DATABASE_URL"));
        Self { database_url, admin_database_url, brokers: exported("KAFKA_BROKERS"), home }
    }

    /// Of a role that may capture so.
    pub(crate) fn database_url(&self, capture: Capture) -> &str {
        match capture {
            Capture::PostgresLog => &self.admin_database_url,
            Capture::PostgresPoll | Capture::Sqlite => &self.database_url,
        }
    }

    /// `stop`, `kill` or `start` of `postgres`, `kafka` (every broker) or `kafka-1`.
    pub(crate) async fn tell(&self, command: &str, server: &str) {
        services(&self.home, &[command, server]).await;
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // After a failure the logs stay. Nothing is checked here: a second panic would hide the first.
        let last: &[&str] = if std::thread::panicking() { &["down"] } else { &["down", "--delete"] };
        let _: std::io::Result<Output> = command(&self.home, last).output();
    }
}

async fn services(home: &Path, arguments: &[&str]) -> String {
    let mut command = command(home, arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it does not panic");
    let output = output.expect("scripts/services");
    assert!(output.status.success(), "scripts/services {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(workspace().join("scripts/services"));
    command.args(arguments).env("SERVICES_HOME", home);
    command
}

fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package is a folder of the workspace").to_owned()
}
