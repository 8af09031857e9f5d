//! A feed to run, checked as far as that goes without a server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use change_feed::kafka::{BrokerList, check_topic_name};
use change_feed::{FeedName, Router, RowFormat};

use crate::configuration_file::ConfigurationFile;
use crate::options::{Delivery, Format, Options, RunArguments, Snapshot, TopicsOf};
use crate::outcome::UsageError;

const DEFAULT_PARTITIONS: u32 = 12;

/// A feed to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) feed: FeedName,
    pub(crate) database_url: DatabaseUrl,
    pub(crate) outbox: Option<OutboxPlan>,
    pub(crate) tables: Vec<String>,
    pub(crate) router: Router,
    pub(crate) target: Target,
    pub(crate) create: bool,
}

/// The URL of the database, which may hold a password: `Debug` does not show it.
pub(crate) struct DatabaseUrl(String);

impl DatabaseUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseUrl")
    }
}

/// An outbox to read. Its key column is found in the database.
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
    /// For topics that are created.
    pub(crate) partitions: u32,
    /// For topics that are created.
    pub(crate) replication_factor: Option<u16>,
}

impl std::fmt::Debug for KafkaPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaPlan").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

impl Plan {
    /// Makes a plan of the command line, the configuration file and the environment.
    pub(crate) fn from_arguments(arguments: Box<RunArguments>) -> Result<Self, UsageError> {
        let RunArguments { options, topic_of, create, config } = *arguments;
        let file = config.map(|path| ConfigurationFile::read(&path)).transpose()?.unwrap_or_default();
        let options = options.or(file.options);
        let mut topics_of = file.topics_of;
        topics_of.extend(topic_of.into_iter().map(|chosen| (chosen.table, chosen.topic)));
        let properties = file.kafka.into_iter().collect();
        let variable = |name: &str| std::env::var(name).ok();
        Self::new(options, &topics_of, create || file.create, properties, &variable)
    }

    fn new(
        options: Options,
        topics_of: &TopicsOf,
        create: bool,
        properties: Vec<(String, String)>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, UsageError> {
        check_available(&options)?;
        let feed = options.feed.clone().ok_or_else(|| UsageError::new("--feed NAME is missing"))?;
        let router = router(&options, topics_of, &feed)?;
        let outbox = options.outbox.as_deref().map(|name| outbox(name, &options)).transpose()?;
        let variable = |name: &str, example: &str| {
            let value = variable(name).filter(|value| !value.trim().is_empty());
            value.ok_or_else(|| UsageError::new(format!("{name} is not set: give it something like {example}")))
        };
        let database_url = DatabaseUrl(variable("DATABASE_URL", "postgres://feed@localhost:5432/store")?);
        let target = match options.to.as_deref().unwrap_or("kafka") {
            "kafka" => Target::Kafka(KafkaPlan {
                brokers: brokers(&variable("KAFKA_BROKERS", "localhost:9092")?)?,
                delivery: options.delivery.unwrap_or(Delivery::Transactional),
                properties,
                partitions: options.partitions.unwrap_or(DEFAULT_PARTITIONS),
                replication_factor: options.replication_factor,
            }),
            "ndjson" => Target::Stdout,
            "null" => Target::Null,
            other => match other.strip_prefix("ndjson:") {
                Some(path) if !path.is_empty() => Target::File(PathBuf::from(path)),
                _ => return Err(UsageError::new(format!("--to {other}: it takes kafka, ndjson, ndjson:FILE or null"))),
            },
        };
        if matches!(target, Target::Kafka(_)) {
            check_kafka_topics(&router, &feed)?;
        }
        Ok(Self { feed, database_url, outbox, tables: options.tables.unwrap_or_default(), router, target, create })
    }
}

fn check_available(options: &Options) -> Result<(), UsageError> {
    if options.format == Some(Format::Debezium) {
        return Err(UsageError::new("--format debezium is not available in this version: use flat for rows"));
    }
    if options.snapshot == Some(Snapshot::Initial) {
        let words =
            "--snapshot initial is not available in this version: the feed begins with what commits from now on";
        return Err(UsageError::new(words));
    }
    if options.partitions == Some(0) {
        return Err(UsageError::new("--partitions 0: a topic has at least one partition"));
    }
    if options.replication_factor == Some(0) {
        return Err(UsageError::new("--replication-factor 0: a topic has at least one replica"));
    }
    Ok(())
}

fn router(options: &Options, topics_of: &TopicsOf, feed: &FeedName) -> Result<Router, UsageError> {
    let Options { outbox, tables, topic, topic_prefix, format, .. } = options;
    let tables = tables.as_deref().unwrap_or_default();
    let missing = |words: &str| Err(UsageError::new(words));
    if outbox.is_none() && tables.is_empty() {
        return missing("nothing to capture: give --outbox SCHEMA.TABLE or --tables SCHEMA.TABLE,…");
    }
    if outbox.is_some() && tables.is_empty() && *format == Some(Format::Flat) {
        return missing("--format flat is for rows: name the outbox under --tables to publish it as rows");
    }
    if outbox.is_none() && *format == Some(Format::CloudEvents) {
        return missing("--format cloudevents is for events: name the table under --outbox if it is an outbox");
    }
    let router = match (outbox, topic) {
        (Some(_), Some(topic)) => Router::to_topic(topic.as_str()),
        (Some(_), None) => return missing("--topic TOPIC is missing: where the outbox's events go"),
        (None, Some(_)) => return missing("--topic is for an outbox: rows take --topic-prefix or --topic-of"),
        (None, None) => Router::rows_only(),
    };
    let mut router = router.source(format!("/change-feed/{feed}"));
    // What goes to a topic, by the name under which Kafka's metrics know the topic: "a.b" and "a_b" are the same there,
    // and a broker refuses to have both.
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    if let (Some(outbox), Some(topic)) = (outbox, topic) {
        taken.insert(topic.replace('.', "_"), outbox);
    }
    for table in tables {
        qualified("--tables", table)?;
        let topic = match (topics_of.get(table), topic_prefix) {
            (Some(topic), _) => topic.clone(),
            (None, Some(prefix)) => format!("{prefix}.{table}"),
            (None, None) => {
                return missing("--topic-prefix PREFIX is missing: rows go to the topics PREFIX.SCHEMA.TABLE");
            }
        };
        match taken.insert(topic.replace('.', "_"), table) {
            None => {}
            Some(other) if other == table => {
                return Err(UsageError::new(format!("{table} is named twice: name each table once")));
            }
            Some(other) => {
                return Err(UsageError::new(format!(
                    "{other} and {table} would share the topic {topic:?} (Kafka takes \".\" and \"_\" for the same), where \
                     a record of one replaces a record of the other: choose another with --topic-of {table}=TOPIC"
                )));
            }
        }
        router = router.rows_of(table.as_str(), topic, RowFormat::Flat);
    }
    match topics_of.keys().find(|table| !tables.contains(table)) {
        Some(table) => Err(UsageError::new(format!("--topic-of {table}: the table is not named under --tables"))),
        None => Ok(router),
    }
}

/// Checks the names of the topics: Kafka would refuse them only after publication and slot were made.
fn check_kafka_topics(router: &Router, feed: &FeedName) -> Result<(), UsageError> {
    let positions = format!("{feed}.positions");
    for topic in router.topics() {
        check_topic_name(&topic).map_err(|error| {
            UsageError::new(format!(
                "{error}; choose another with --topic, --topic-prefix or --topic-of SCHEMA.TABLE=TOPIC"
            ))
        })?;
        if *topic == *positions {
            return Err(UsageError::new(format!(
                "the topic {topic:?} is the feed's own, for its position: choose another"
            )));
        }
    }
    Ok(())
}

fn outbox(name: &str, options: &Options) -> Result<OutboxPlan, UsageError> {
    let (schema, table) = qualified("--outbox", name)?;
    Ok(OutboxPlan {
        schema: schema.to_owned(),
        table: table.to_owned(),
        type_prefix: options.type_prefix.clone().unwrap_or_default(),
        type_suffix: options.type_suffix.clone().unwrap_or_default(),
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

    fn options() -> Options {
        Options {
            feed: Some(FeedName::new("orders").expect("a good name")),
            outbox: Some("public.order_events".to_owned()),
            topic: Some("orders.events".to_owned()),
            ..Options::default()
        }
    }

    fn plan(options: Options) -> Result<Plan, UsageError> {
        let variable = |name: &str| match name {
            "DATABASE_URL" => Some("postgres://feed@localhost/store".to_owned()),
            "KAFKA_BROKERS" => Some("localhost:9092".to_owned()),
            _ => None,
        };
        Plan::new(options, &TopicsOf::new(), false, Vec::new(), &variable)
    }

    #[track_caller]
    fn refused(options: Options, word: &str) {
        let error = plan(options).expect_err("it can't be run");
        assert!(error.to_string().contains(word), "{error}");
    }

    #[test]
    fn an_outbox_goes_to_its_topic_and_rows_to_one_for_each_table() {
        let tables = Some(vec!["public.orders".to_owned(), "audit.log".to_owned()]);
        let topic_prefix = Some("store".to_owned());
        let plan = plan(Options { tables, topic_prefix, ..options() }).expect("a good plan");
        let topics = plan.router.topics();
        let topics: Vec<_> = topics.iter().map(|topic| &**topic).collect();
        assert_eq!(topics, ["orders.events", "store.audit.log", "store.public.orders"]);
        assert!(matches!(plan.target, Target::Kafka(KafkaPlan { delivery: Delivery::Transactional, .. })));
    }

    #[test]
    fn targets_are_read_from_one_word() {
        let target = |to: &str| plan(Options { to: Some(to.to_owned()), ..options() }).map(|plan| plan.target);
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
        let error = Plan::new(options(), &TopicsOf::new(), false, Vec::new(), &variable)
            .expect_err("a URL is no list of brokers");
        assert!(error.to_string().contains("KAFKA_BROKERS"), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn wrong_usage_is_refused_with_what_would_be_right() {
        refused(Options { feed: None, ..options() }, "--feed");
        refused(Options { outbox: None, topic: None, ..options() }, "nothing to capture");
        refused(Options { topic: None, ..options() }, "--topic TOPIC");
        refused(Options { outbox: Some("order_events".to_owned()), ..options() }, "SCHEMA.TABLE");
        refused(Options { tables: Some(vec!["public.a".to_owned()]), ..options() }, "--topic-prefix");
        refused(Options { format: Some(Format::Debezium), ..options() }, "not available");
        refused(Options { format: Some(Format::Flat), ..options() }, "for rows");
        refused(Options { snapshot: Some(Snapshot::Initial), ..options() }, "not available");
        let none = |_: &str| None;
        let error = Plan::new(options(), &TopicsOf::new(), false, Vec::new(), &none).expect_err("no server is named");
        assert!(error.to_string().contains("DATABASE_URL"));
    }

    fn routed(tables: &[&str], topic_of: &[(&str, &str)]) -> Result<Vec<String>, UsageError> {
        let options = Options {
            tables: Some(tables.iter().map(|&table| table.to_owned()).collect()),
            topic_prefix: Some("store".to_owned()),
            ..options()
        };
        let topics_of = topic_of.iter().map(|&(table, topic)| (table.to_owned(), topic.to_owned())).collect();
        let variable = |name: &str| Some(if name == "DATABASE_URL" { "postgres://a/b" } else { "a:1" }.to_owned());
        let plan = Plan::new(options, &topics_of, true, Vec::new(), &variable)?;
        Ok(plan.router.topics().iter().map(|topic| topic.to_string()).collect())
    }

    #[test]
    fn the_topic_of_a_table_can_be_chosen() {
        let topics = routed(&["public.größen", "public.orders"], &[("public.größen", "store.sizes")]);
        let mut topics = topics.expect("a good plan");
        topics.sort();
        assert_eq!(topics, ["orders.events", "store.public.orders", "store.sizes"]);
    }

    #[test]
    fn a_topic_that_kafka_refuses_or_that_two_would_share_is_refused() {
        let wrong = |tables: &[&str], topic_of: &[(&str, &str)], words: &str| {
            let error = routed(tables, topic_of).expect_err("a wrong plan").to_string();
            assert!(error.contains(words), "{error}");
        };
        wrong(&["public.größen"], &[], "--topic-of");
        wrong(&["public.a b"], &[], "--topic-of");
        wrong(&["public.a"], &[("public.a", "a/b")], "a/b");
        wrong(&["public.a"], &[("public.a", "")], "empty");
        wrong(&["public.a"], &[("public.a", "orders.positions")], "position");
        wrong(&["public.a"], &[("public.a", "orders.events")], "share");
        wrong(&["public.a", "public.b"], &[("public.b", "store.public.a")], "share");
        wrong(&["public.a_b", "public.a.b"], &[], "share");
        wrong(&["public.a", "public.a"], &[], "twice");
        wrong(&["public.a"], &[("public.b", "b")], "not named");
    }

    #[test]
    fn debug_shows_neither_password_nor_url() {
        let variable =
            |name: &str| Some(if name == "DATABASE_URL" { "postgres://feed:s3cret@a/b" } else { "a:1" }.to_owned());
        let properties = vec![("sasl.password".to_owned(), "s3cret".to_owned())];
        let plan = Plan::new(options(), &TopicsOf::new(), false, properties, &variable).expect("a good plan");
        assert!(!format!("{plan:?}").contains("s3cret"), "{plan:?}");
    }
}
