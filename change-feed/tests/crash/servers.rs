//! Servers of a test's own, which it may crash.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::assignment::{Capture, Mode};

/// A PostgreSQL and a Kafka of a test's own, which it may crash. They end when this is dropped.
pub(crate) struct Servers {
    home: PathBuf,
    database_url: String,
    admin_database_url: String,
    pub(crate) brokers: String,
}

/// The servers of a scenario: its own, or those that all tests share.
pub(crate) struct Site {
    pub(crate) database_url: String,
    pub(crate) brokers: String,
    _own: Option<Servers>,
}

/// The URL of the servers that all tests share.
pub(crate) fn shared(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test, or eval \"$(scripts/services env)\""))
}

impl Site {
    /// With so many brokers of this scenario's own, or what is shared; of a role that may capture so.
    pub(crate) async fn choose(scenario: &str, capture: Capture, mode: Mode, own_brokers: Option<u32>) -> Self {
        let Some(brokers) = own_brokers else {
            let (database_url, brokers) = (shared(capture.url_variable()), shared("KAFKA_BROKERS"));
            return Self { database_url, brokers, _own: None };
        };
        let name = format!("crash-{scenario}-{capture:?}-{mode:?}").to_lowercase();
        let own = Servers::start(&name, brokers).await;
        let (database_url, brokers) = (own.database_url(capture).to_owned(), own.brokers.clone());
        Self { database_url, brokers, _own: Some(own) }
    }

    pub(crate) fn count_brokers(&self) -> usize {
        self.brokers.split(',').count()
    }
}

impl Servers {
    pub(crate) async fn start(name: &str, brokers: u32) -> Self {
        let home = workspace().join("target/services-private").join(name);
        // A 4.3 forgets a commit where a partition has no leader (KAFKA-20734), as here when the only broker is away, or
        // when a loaded machine keeps the last two from their heartbeats: what its readers never see then looks lost, and is.
        services(&home, &["up", "--kafka", "4.2", "--brokers", &brokers.to_string()]).await;
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
