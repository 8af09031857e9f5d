//! The command line, and the options that a configuration file can give as well.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use change_feed::FeedName;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

const RUN_HELP: &str = "\
Environment:
  DATABASE_URL   postgres://USER:PASSWORD@HOST:PORT/DATABASE, with a role that has REPLICATION
  KAFKA_BROKERS  HOST:PORT,HOST:PORT…
  RUST_LOG       log filter for standard error, for example change_feed=debug  [default: info; warn on a terminal]

Exit codes:
  0  ended on SIGTERM or Ctrl-C, after draining
  1  failed, for example because a setting does not fit the server
  2  wrong usage; nothing was connected to or made
  3  failed closed: the feed stopped rather than lose or invent a change, and needs somebody to act

Examples:
  Publish an outbox; create publication, slot and topic at the first run:
    change-feed run --feed orders --outbox public.order_events --topic orders.events --create
  Publish the rows of two tables, one topic for each:
    change-feed run --feed store --tables public.customers,public.prices --topic-prefix store --create
  Choose the topic of a table whose name Kafka does not allow:
    change-feed run --feed store --tables 'public.größen' --topic-of 'public.größen=store.sizes' --create
  See what would be published, without Kafka:
    change-feed run --feed try --outbox public.order_events --topic t --to ndjson --create";

/// Publishes what committed in PostgreSQL to Kafka: in order, exactly once.
#[derive(Debug, Parser)]
#[command(name = "change-feed", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Runs a feed until SIGTERM or Ctrl-C.
    #[command(after_help = RUN_HELP)]
    Run(Box<RunArguments>),
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Publish the rows of a table to this topic, instead of PREFIX.SCHEMA.TABLE; may be given several times.
    #[arg(long, value_name = "SCHEMA.TABLE=TOPIC")]
    pub(crate) topic_of: Vec<TopicOf>,
    /// Create what is missing: publication, slot and topics.
    #[arg(long)]
    pub(crate) create: bool,
    /// A TOML file with any of these options, without the dashes. The command line takes precedence. The file's table
    /// "topic-of" gives topics by table, its table "kafka" properties of librdkafka, such as "security.protocol".
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// The options that both the command line and a configuration file can give.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Options {
    /// The name of the feed, from which slot, publication, transactional id and position topic take theirs.
    #[arg(long, value_name = "NAME")]
    pub(crate) feed: Option<FeedName>,
    /// The outbox whose events are published.
    #[arg(long, value_name = "SCHEMA.TABLE")]
    pub(crate) outbox: Option<String>,
    /// Text before the outbox's event_type in the type that consumers see.
    #[arg(long, value_name = "TEXT")]
    pub(crate) type_prefix: Option<String>,
    /// Text after the outbox's event_type in the type that consumers see.
    #[arg(long, value_name = "TEXT")]
    pub(crate) type_suffix: Option<String>,
    /// Tables whose rows are published.
    #[arg(long, value_name = "SCHEMA.TABLE,…", value_delimiter = ',')]
    pub(crate) tables: Option<Vec<String>>,
    /// The topic of the outbox's events.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// The prefix of the topics of rows: PREFIX.SCHEMA.TABLE.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) topic_prefix: Option<String>,
    /// The form of the records [default: cloudevents for events, flat for rows].
    #[arg(long)]
    pub(crate) format: Option<Format>,
    /// How records are delivered to Kafka [default: transactional].
    #[arg(long)]
    pub(crate) delivery: Option<Delivery>,
    /// Where records go: kafka, ndjson (standard output), ndjson:FILE or null [default: kafka].
    #[arg(long, value_name = "TARGET")]
    pub(crate) to: Option<String>,
    /// Whether the rows that exist already are published first [default: never].
    #[arg(long)]
    pub(crate) snapshot: Option<Snapshot>,
    /// The number of partitions of topics that are created [default: 12].
    #[arg(long, value_name = "NUMBER")]
    pub(crate) partitions: Option<u32>,
    /// The replication factor of topics that are created [default: the cluster's].
    #[arg(long, value_name = "NUMBER")]
    pub(crate) replication_factor: Option<u16>,
}

/// The topic that was chosen for the rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicOf {
    pub(crate) table: String,
    pub(crate) topic: String,
}

impl FromStr for TopicOf {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A topic has no "=" in its name; a table may.
        let (table, topic) = text.rsplit_once('=').ok_or("it takes SCHEMA.TABLE=TOPIC, like public.prices=prices")?;
        Ok(Self { table: table.to_owned(), topic: topic.to_owned() })
    }
}

/// The topics that were chosen, by table.
pub(crate) type TopicsOf = BTreeMap<String, String>;

/// The form of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Events as CloudEvents 1.0.
    CloudEvents,
    /// Rows with their state before and after the change; not available in this version.
    Debezium,
    /// Rows as one JSON object of their columns.
    Flat,
}

/// How records are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Delivery {
    /// Exactly once for readers with read_committed.
    Transactional,
    /// At least once, faster; a duplicate carries the same event id.
    Idempotent,
}

/// What happens to the rows that exist already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Snapshot {
    /// They are published first; not available in this version.
    Initial,
    /// They are not published.
    Never,
}

impl Options {
    /// Fills in what is missing here from the file.
    pub(crate) fn or(self, file: Self) -> Self {
        Self {
            feed: self.feed.or(file.feed),
            outbox: self.outbox.or(file.outbox),
            type_prefix: self.type_prefix.or(file.type_prefix),
            type_suffix: self.type_suffix.or(file.type_suffix),
            tables: self.tables.or(file.tables),
            topic: self.topic.or(file.topic),
            topic_prefix: self.topic_prefix.or(file.topic_prefix),
            format: self.format.or(file.format),
            delivery: self.delivery.or(file.delivery),
            to: self.to.or(file.to),
            snapshot: self.snapshot.or(file.snapshot),
            partitions: self.partitions.or(file.partitions),
            replication_factor: self.replication_factor.or(file.replication_factor),
        }
    }
}
