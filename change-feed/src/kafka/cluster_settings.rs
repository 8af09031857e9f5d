//! The settings of the clients of a cluster.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::broker_list::{BrokerList, InvalidBrokerList};
use super::failure::Failure;

/// The settings that the clients of a feed share: bootstrap servers, and the user's own.
///
/// `Debug` shows the names of the settings and never a value: some are passwords.
#[derive(Clone)]
pub(crate) struct ClusterSettings {
    brokers: String,
    client_id: String,
    overrides: BTreeMap<String, String>,
}

/// What a reader sees of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Only what was committed.
    Committed,
    /// Everything, up to the high watermark.
    Uncommitted,
}

impl ClusterSettings {
    pub(crate) fn new(brokers: &str, client_id: impl Into<String>) -> Self {
        Self { brokers: brokers.to_owned(), client_id: client_id.into(), overrides: BTreeMap::new() }
    }

    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.overrides.insert(name.into(), value.into());
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.overrides.get(name).map(String::as_str)
    }

    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Checks the list of brokers. librdkafka takes any text.
    pub(crate) fn check_brokers(&self) -> Result<BrokerList, InvalidBrokerList> {
        BrokerList::parse(&self.brokers)
    }

    /// For clients that query or administer the cluster.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = self.base();
        config.extend(self.overrides_for(is_of_every_client));
        config
    }

    /// For a reader that assigns its partitions itself and commits no offsets.
    ///
    /// librdkafka wants a group's name even then. It joins no group under it.
    pub(crate) fn reader(&self, isolation: Isolation) -> ClientConfig {
        let mut config = self.client();
        // By default the broker holds back an answer for 500 ms, at the end of a topic too.
        config.set("fetch.wait.max.ms", "10");
        config.extend(self.overrides_for(is_of_readers));
        config
            .set("group.id", format!("{}.reader", self.client_id))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false")
            .set("isolation.level", isolation.setting());
        config
    }

    /// For the clients that query where a partition ends.
    pub(crate) fn probe(&self, isolation: Isolation) -> ClientConfig {
        let mut config = self.client();
        config.set("isolation.level", isolation.setting());
        config
    }

    /// For a producer: `defaults`, then the user's settings, which win.
    pub(crate) fn producer(&self, defaults: &[(&str, String)]) -> ClientConfig {
        let mut config = self.base();
        config.extend(defaults.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        config.extend(self.overrides.clone());
        config
    }

    /// Whether librdkafka takes the settings. Connects to nobody.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let answer = self.producer(&[]).create_native_config();
        answer.map(drop).map_err(|error| Failure::new("set up the Kafka client", &error))
    }

    /// Which of these settings the user has made, if any.
    pub(crate) fn reserved<'a>(&self, reserved: &[&'a str]) -> Option<&'a str> {
        reserved.iter().copied().find(|name| self.overrides.contains_key(*name))
    }

    fn overrides_for(&self, concerns: fn(&str) -> bool) -> impl Iterator<Item = (String, String)> {
        let concerned = self.overrides.iter().filter(move |(name, _)| concerns(name));
        concerned.map(|(name, value)| (name.clone(), value.clone()))
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            // Quick revival: librdkafka's own pause between attempts grows to 10 s.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "500")
            .set("socket.connection.setup.timeout.ms", "5000")
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            // Only these lines show that the connection to the transaction coordinator broke.
            .set("log.connection.close", "true")
            .set_log_level(RDKafkaLogLevel::Info);
        config
    }
}

impl fmt::Debug for ClusterSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSettings")
            // A text that is no list of brokers may hold a password.
            .field("brokers", &self.check_brokers())
            .field("client_id", &self.client_id)
            .field("overrides", &self.overrides.keys())
            .finish()
    }
}

impl Isolation {
    fn setting(self) -> &'static str {
        match self {
            Self::Committed => "read_committed",
            Self::Uncommitted => "read_uncommitted",
        }
    }
}

/// Whether a setting is for clients of any kind; librdkafka complains in its log of a producer's
/// setting on a consumer.
fn is_of_every_client(name: &str) -> bool {
    const PREFIXES: [&str; 15] = [
        "api.",
        "broker.",
        "client.",
        "connections.",
        "debug",
        "enable.s",
        "https.",
        "metadata.",
        "reconnect.",
        "retry.",
        "sasl.",
        "security.",
        "socket.",
        "ssl.",
        "topic.metadata.",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a setting says how records are fetched.
fn is_of_readers(name: &str) -> bool {
    const PREFIXES: [&str; 5] = ["check.crcs", "fetch.", "max.partition.fetch.", "queued.", "receive.message."];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let mut settings = ClusterSettings::new("localhost:1", "test");
        settings.set("sasl.password", "my-secret");
        let shown = format!("{settings:?}");
        assert!(shown.contains("sasl.password") && shown.contains("localhost:1"), "{shown}");
        assert!(!shown.contains("my-secret"), "{shown}");
        let shown = format!("{:?}", ClusterSettings::new("kafka://user:my-secret@localhost:1", "test"));
        assert!(!shown.contains("my-secret"), "{shown}");
    }

    #[test]
    fn security_reaches_every_client_batching_only_producers_and_fetching_only_readers() {
        let mut settings = ClusterSettings::new("localhost:1", "test");
        settings.set("security.protocol", "ssl");
        settings.set("linger.ms", "7");
        settings.set("fetch.wait.max.ms", "70");
        let producer = settings.producer(&[("linger.ms", "5".to_owned())]);
        assert_eq!(producer.get("linger.ms"), Some("7"));
        for config in [settings.client(), settings.reader(Isolation::Committed), producer] {
            assert_eq!(config.get("security.protocol"), Some("ssl"));
        }
        for config in [settings.client(), settings.reader(Isolation::Committed)] {
            assert_eq!(config.get("linger.ms"), None);
        }
        assert_eq!(settings.client().get("fetch.wait.max.ms"), None);
        assert_eq!(settings.reader(Isolation::Committed).get("fetch.wait.max.ms"), Some("70"));
    }
}
