//! What is to be run, checked as far as that goes without a server.

use std::path::PathBuf;

use change_feed::kafka::BrokerList;
use change_feed::{FeedName, Router, RowFormat};

use crate::arguments::RunArguments;
use crate::file::ConfigurationFile;
use crate::settings::{Delivery, Format, Settings, Snapshot};

const DEFAULT_PARTITIONS: u32 = 12;

/// A feed to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) feed: FeedName,
    pub(crate) database_url: String,
    pub(crate) outbox: Option<OutboxPlan>,
    pub(crate) tables: Vec<String>,
    pub(crate) router: Router,
    pub(crate) target: Target,
    pub(crate) create: bool,
}

/// An outbox to read; which of its columns is the key is found in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutboxPlan {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) type_prefix: String,
    pub(crate) type_suffix: String,
}

/// Where records go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Kafka(KafkaPlan),
    Stdout,
    File(PathBuf),
    Null,
}

/// A Kafka cluster, and how to publish to it.
#[derive(PartialEq, Eq)]
pub(crate) struct KafkaPlan {
    pub(crate) brokers: BrokerList,
    pub(crate) delivery: Delivery,
    /// Properties of librdkafka. Some are secret.
    pub(crate) properties: Vec<(String, String)>,
    /// Of topics that are made.
    pub(crate) partitions: u32,
    pub(crate) replication_factor: Option<u16>,
}

impl std::fmt::Debug for KafkaPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaPlan").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

/// What can't be run as it was said. Never shows a password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(String);

impl UsageError {
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl Plan {
    /// What the command line, the file that it names and the environment come to.
    pub(crate) fn from_arguments(arguments: Box<RunArguments>) -> Result<Self, UsageError> {
        let RunArguments { settings, create, config } = *arguments;
        let file = config.map(|path| ConfigurationFile::read(&path)).transpose()?.unwrap_or_default();
        let create = create || file.create;
        let settings = settings.or(file.settings);
        let properties = file.kafka.into_iter().collect();
        Self::new(settings, create, properties, &|name| std::env::var(name).ok())
    }

    fn new(
        settings: Settings,
        create: bool,
        properties: Vec<(String, String)>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, UsageError> {
        check_available(&settings)?;
        let feed = settings.feed.clone().ok_or_else(|| UsageError::new("--feed NAME is missing"))?;
        let router = router(&settings, &feed)?;
        let outbox = settings.outbox.as_deref().map(|name| outbox(name, &settings)).transpose()?;
        let tables = settings.tables.clone().unwrap_or_default();
        for table in &tables {
            qualified("--tables", table)?;
        }
        let variable = |name: &str, example: &str| {
            let value = variable(name).filter(|value| !value.trim().is_empty());
            value.ok_or_else(|| UsageError::new(format!("{name} is not set: give it something like {example}")))
        };
        let database_url = variable("DATABASE_URL", "postgres://feed@localhost:5432/store")?;
        let target = match settings.to.as_deref().unwrap_or("kafka") {
            "kafka" => Target::Kafka(KafkaPlan {
                brokers: brokers(&variable("KAFKA_BROKERS", "localhost:9092")?)?,
                delivery: settings.delivery.unwrap_or(Delivery::Transactional),
                properties,
                partitions: settings.partitions.unwrap_or(DEFAULT_PARTITIONS),
                replication_factor: settings.replication_factor,
            }),
            "ndjson" => Target::Stdout,
            "null" => Target::Null,
            other => match other.strip_prefix("ndjson:") {
                Some(path) if !path.is_empty() => Target::File(PathBuf::from(path)),
                _ => return Err(UsageError::new(format!("--to {other}: it takes kafka, ndjson, ndjson:FILE or null"))),
            },
        };
        Ok(Self { feed, database_url, outbox, tables, router, target, create })
    }
}

fn check_available(settings: &Settings) -> Result<(), UsageError> {
    if settings.format == Some(Format::Debezium) {
        return Err(UsageError::new("--format debezium is not available in this version: use flat for rows"));
    }
    if settings.snapshot == Some(Snapshot::Initial) {
        let words =
            "--snapshot initial is not available in this version: the feed begins with what commits from now on";
        return Err(UsageError::new(words));
    }
    if settings.partitions == Some(0) {
        return Err(UsageError::new("--partitions 0: a topic has at least one"));
    }
    Ok(())
}

fn router(settings: &Settings, feed: &FeedName) -> Result<Router, UsageError> {
    let Settings { outbox, tables, topic, topic_prefix, format, .. } = settings;
    let tables = tables.as_deref().unwrap_or_default();
    let missing = |words: &str| Err(UsageError::new(words));
    if outbox.is_none() && tables.is_empty() {
        return missing("nothing to capture: give --outbox SCHEMA.TABLE or --tables SCHEMA.TABLE,…");
    }
    if outbox.is_some() && tables.is_empty() && *format == Some(Format::Flat) {
        return missing("--format flat is for rows: name the outbox under --tables to publish it as rows");
    }
    if outbox.is_none() && *format == Some(Format::CloudEvents) {
        return missing("--format cloudevents is for events: name the table under --outbox if it is one");
    }
    let router = match (outbox, topic) {
        (Some(_), Some(topic)) => Router::to_topic(topic.as_str()),
        (Some(_), None) => return missing("--topic TOPIC is missing: where the outbox's events go"),
        (None, Some(_)) => return missing("--topic is for an outbox; rows take --topic-prefix"),
        (None, None) => Router::rows_only(),
    };
    let router = router.source(format!("/change-feed/{feed}"));
    match topic_prefix {
        _ if tables.is_empty() => Ok(router),
        Some(prefix) => Ok(router.rows(prefix, tables.iter().map(String::as_str), RowFormat::Flat)),
        None => missing("--topic-prefix PREFIX is missing: rows go to the topics PREFIX.SCHEMA.TABLE"),
    }
}

fn outbox(name: &str, settings: &Settings) -> Result<OutboxPlan, UsageError> {
    let (schema, table) = qualified("--outbox", name)?;
    Ok(OutboxPlan {
        schema: schema.to_owned(),
        table: table.to_owned(),
        type_prefix: settings.type_prefix.clone().unwrap_or_default(),
        type_suffix: settings.type_suffix.clone().unwrap_or_default(),
    })
}

fn brokers(list: &str) -> Result<BrokerList, UsageError> {
    BrokerList::parse(list).map_err(|error| UsageError::new(format!("KAFKA_BROKERS: {error}")))
}

fn qualified<'a>(option: &str, name: &'a str) -> Result<(&'a str, &'a str), UsageError> {
    let parts = name.split_once('.').filter(|(schema, table)| !schema.is_empty() && !table.is_empty());
    parts.ok_or_else(|| UsageError::new(format!("{option} {name}: it takes SCHEMA.TABLE, like public.orders")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            feed: Some(FeedName::new("orders").expect("a good name")),
            outbox: Some("public.order_events".to_owned()),
            topic: Some("orders.events".to_owned()),
            ..Settings::default()
        }
    }

    fn plan(settings: Settings) -> Result<Plan, UsageError> {
        let variable = |name: &str| match name {
            "DATABASE_URL" => Some("postgres://feed@localhost/store".to_owned()),
            "KAFKA_BROKERS" => Some("localhost:9092".to_owned()),
            _ => None,
        };
        Plan::new(settings, false, Vec::new(), &variable)
    }

    #[track_caller]
    fn refused(settings: Settings, word: &str) {
        let error = plan(settings).expect_err("it can't be run");
        assert!(error.to_string().contains(word), "{error}");
    }

    #[test]
    fn an_outbox_goes_to_its_topic_and_rows_to_one_for_each_table() {
        let tables = Some(vec!["public.orders".to_owned(), "audit.log".to_owned()]);
        let topic_prefix = Some("store".to_owned());
        let plan = plan(Settings { tables, topic_prefix, ..settings() }).expect("a good plan");
        let topics = plan.router.topics();
        let topics: Vec<_> = topics.iter().map(|topic| &**topic).collect();
        assert_eq!(topics, ["orders.events", "store.audit.log", "store.public.orders"]);
        assert!(matches!(plan.target, Target::Kafka(KafkaPlan { delivery: Delivery::Transactional, .. })));
    }

    #[test]
    fn targets_are_read_from_one_word() {
        let target = |to: &str| plan(Settings { to: Some(to.to_owned()), ..settings() }).map(|plan| plan.target);
        assert_eq!(target("ndjson").expect("a target"), Target::Stdout);
        assert_eq!(target("null").expect("a target"), Target::Null);
        assert_eq!(target("ndjson:/a/b").expect("a target"), Target::File(PathBuf::from("/a/b")));
        assert!(target("ndjson:").is_err());
        assert!(target("rabbit").is_err());
    }

    #[test]
    fn a_list_of_brokers_that_nobody_can_reach_is_refused_without_its_password() {
        let variable = |name: &str| match name {
            "DATABASE_URL" => Some("postgres://feed@localhost/store".to_owned()),
            _ => Some("kafka://user:s3cret@localhost:9092".to_owned()),
        };
        let error = Plan::new(settings(), false, Vec::new(), &variable).expect_err("a URL is no list of brokers");
        assert!(error.to_string().contains("KAFKA_BROKERS"), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn what_can_not_be_run_is_said_with_what_would_be_right() {
        refused(Settings { feed: None, ..settings() }, "--feed");
        refused(Settings { outbox: None, topic: None, ..settings() }, "nothing to capture");
        refused(Settings { topic: None, ..settings() }, "--topic TOPIC");
        refused(Settings { outbox: Some("order_events".to_owned()), ..settings() }, "SCHEMA.TABLE");
        refused(Settings { tables: Some(vec!["public.a".to_owned()]), ..settings() }, "--topic-prefix");
        refused(Settings { format: Some(Format::Debezium), ..settings() }, "not available");
        refused(Settings { format: Some(Format::Flat), ..settings() }, "for rows");
        refused(Settings { snapshot: Some(Snapshot::Initial), ..settings() }, "not available");
        let none = |_: &str| None;
        let error = Plan::new(settings(), false, Vec::new(), &none).expect_err("no server is named");
        assert!(error.to_string().contains("DATABASE_URL"));
    }
}
