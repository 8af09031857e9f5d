//! What a feed can be told, on the command line and in a file alike.

use change_feed::FeedName;
use clap::{Args, ValueEnum};
use serde::Deserialize;

/// The options that both the command line and a file can give.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    /// The feed's name: names slot, publication, transactional id and position topic.
    #[arg(long, value_name = "NAME")]
    pub(crate) feed: Option<FeedName>,
    /// The outbox whose events are published.
    #[arg(long, value_name = "SCHEMA.TABLE")]
    pub(crate) outbox: Option<String>,
    /// What stands before the outbox's event_type in the type that consumers see.
    #[arg(long, value_name = "TEXT")]
    pub(crate) type_prefix: Option<String>,
    /// What stands behind it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) type_suffix: Option<String>,
    /// Tables whose rows are published.
    #[arg(long, value_name = "SCHEMA.TABLE,…", value_delimiter = ',')]
    pub(crate) tables: Option<Vec<String>>,
    /// The topic of the outbox's events.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// Rows go to the topics PREFIX.SCHEMA.TABLE.
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
    /// Whether the rows that are there already are published first [default: never].
    #[arg(long)]
    pub(crate) snapshot: Option<Snapshot>,
    /// The partitions of topics that are made [default: 12].
    #[arg(long, value_name = "NUMBER")]
    pub(crate) partitions: Option<u32>,
    /// The replicas of topics that are made [default: the cluster's own].
    #[arg(long, value_name = "NUMBER")]
    pub(crate) replication_factor: Option<u16>,
}

/// The form of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Events as CloudEvents 1.0.
    CloudEvents,
    /// Rows with before and after images; not available in this version.
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

/// What happens to rows that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Snapshot {
    /// Published first; not available in this version.
    Initial,
    /// Not published.
    Never,
}

impl Settings {
    /// These, and where they say nothing, those of the file.
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
