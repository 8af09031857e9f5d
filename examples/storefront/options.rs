//! The options of the command line and of the environment.

use clap::{Parser, ValueEnum};

use change_feed::FeedName;
use change_feed::kafka::BrokerList;

use crate::database::DatabaseUrl;

/// The longest name that Kafka takes for a topic, in bytes.
const TOPIC_MAX_BYTES: usize = 249;
/// Without `DATABASE_URL`: a file in the present folder.
const DEFAULT_DATABASE_URL: &str = "sqlite:storefront.db";

/// An online store's orders in a database, and their events in Kafka: the reference application.
///
/// Without any server it keeps orders in a SQLite file and publishes to a development broker inside this process.
#[derive(Debug, Clone, Parser)]
#[command(name = "storefront", version, after_help = ENVIRONMENT)]
pub(crate) struct Options {
    /// Where to serve the page and the API; port 0 takes a free one.
    #[arg(long, env = "LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:3000", value_parser = listen)]
    pub(crate) listen: String,
    /// The topic that the events go to.
    #[arg(long, env = "ORDERS_TOPIC", default_value = "orders.events", value_parser = topic)]
    pub(crate) topic: String,
    /// The name of the feed: of all storefronts on one database with one name, one relays and the others stand by.
    #[arg(long, env = "FEED", value_name = "NAME", default_value = "storefront")]
    pub(crate) feed: FeedName,
    /// How events are captured from the database.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) source: SourceChoice,
    /// Don't play the example order at the start.
    #[arg(long)]
    pub(crate) no_demo: bool,
}

const ENVIRONMENT: &str = "\
Environment:
  DATABASE_URL   sqlite:FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE  [default: sqlite:storefront.db]
  KAFKA_BROKERS  HOST:PORT,HOST:PORT…                            [default: a development broker in memory]
  RUST_LOG       what to log on standard error, like info or change_feed=debug           [default: error]

Exit codes: 0 ended in order, 1 failed, 2 wrong usage, 3 ended while the feed had failed closed.";

/// How events are captured from the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceChoice {
    /// What the feed began with; at its first start a replication slot where the role may make one, else polling.
    Auto,
    /// A replication slot (PostgreSQL): from the log, with no polling.
    Logical,
    /// Polling the outbox.
    Poll,
}

/// Options that the storefront can't start with. The error never shows a password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(String);

impl UsageError {
    /// An error that says what is wrong and what would be right.
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// Where the two servers are. `clap` doesn't read these variables: it would repeat a wrong URL with its password.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    /// The database.
    pub(crate) database: DatabaseUrl,
    /// The Kafka cluster, or `None` for the development broker.
    pub(crate) brokers: Option<BrokerList>,
}

impl Servers {
    /// Reads `DATABASE_URL` and `KAFKA_BROKERS`. An empty variable counts as missing.
    pub(crate) fn from_environment() -> Result<Self, UsageError> {
        let url = variable("DATABASE_URL")?.unwrap_or_else(|| DEFAULT_DATABASE_URL.to_owned());
        let brokers = variable("KAFKA_BROKERS")?.map(|list| list.parse::<BrokerList>()).transpose();
        let brokers = brokers.map_err(|error| UsageError::new(format!("KAFKA_BROKERS: {error}")))?;
        Ok(Self { database: DatabaseUrl::parse(&url).map_err(|error| UsageError::new(error.to_string()))?, brokers })
    }
}

impl Options {
    /// Checks what takes more than one option to check.
    pub(crate) fn check(&self, servers: &Servers) -> Result<(), UsageError> {
        if self.source == SourceChoice::Logical && matches!(servers.database, DatabaseUrl::Sqlite { .. }) {
            let words = "--source logical needs PostgreSQL: set DATABASE_URL, or leave it out";
            return Err(UsageError::new(words));
        }
        if self.topic == format!("{}.positions", self.feed) {
            let words =
                format!("--topic {}: that is where the feed keeps its position; choose another topic", self.topic);
            return Err(UsageError::new(words));
        }
        Ok(())
    }
}

fn variable(name: &str) -> Result<Option<String>, UsageError> {
    match std::env::var(name) {
        Ok(value) if value.trim().is_empty() => Ok(None),
        Ok(value) => Ok(Some(value.trim().to_owned())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(UsageError::new(format!("{name} is not UTF-8 text"))),
    }
}

fn listen(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err("it takes HOST:PORT, like 127.0.0.1:3000".to_owned()),
    }
}

fn topic(name: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_path = matches!(name, "." | "..");
    if (1..=TOPIC_MAX_BYTES).contains(&name.len()) && name.bytes().all(allowed) && !is_path {
        Ok(name.to_owned())
    } else {
        Err(format!("Kafka takes 1 to {TOPIC_MAX_BYTES} of the characters A-Z a-z 0-9 . _ - for a topic"))
    }
}
