//! How to read a topic of Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;

use super::client::{Client, Watermarks};
use super::error::ReaderError;
use super::partition::PartitionProgress;
use super::reader::KafkaReader;
use crate::consumer::progress::Progress;
use crate::kafka::cluster_settings::ClusterSettings;
use crate::kafka::failure::Failure;

/// How long each question may take that is asked before reading begins.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// What reading rests on: a user's setting of these is refused.
const RESERVED: [&str; 11] = [
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "group.id",
    "group.protocol",
    "isolation.level",
    "log.queue",
    "metadata.broker.list",
    "partition.assignment.strategy",
];

/// How to read a topic.
#[derive(Debug, Clone)]
pub struct KafkaReaderBuilder {
    settings: ClusterSettings,
    topic: Arc<str>,
    start: Start,
    progress: Option<Progress>,
}

#[derive(Debug, Clone)]
enum Start {
    Beginning,
    End,
    Recent(u64),
    Offsets(BTreeMap<u32, u64>),
}

impl KafkaReaderBuilder {
    pub(super) fn new(brokers: &str, topic: Arc<str>) -> Self {
        let settings = ClusterSettings::new(brokers, "change-feed-reader");
        Self { settings, topic, start: Start::Beginning, progress: None }
    }

    /// Starts after everything that is in the topic when the reader is opened.
    #[must_use]
    pub fn from_end(self) -> Self {
        Self { start: Start::End, ..self }
    }

    /// Starts so many offsets before the end of each partition, or at its beginning: a page that shows
    /// what came last need not read everything. Markers of transactions take offsets too.
    #[must_use]
    pub fn from_recent(self, offsets: u64) -> Self {
        Self { start: Start::Recent(offsets), ..self }
    }

    /// Starts at these offsets, the next one to read of each partition; at the beginning of the
    /// partitions that are not named.
    #[must_use]
    pub fn from_offsets(self, offsets: impl IntoIterator<Item = (u32, u64)>) -> Self {
        Self { start: Start::Offsets(offsets.into_iter().collect()), ..self }
    }

    /// Goes on from this progress. Unless it is given, a reader that starts at the beginning
    /// expects every key at version 1, and any other takes each key as it finds it.
    #[must_use]
    pub fn progress(self, progress: Progress) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Sets a [property of librdkafka], such as those for TLS and SASL. What the reader needs itself is refused when it
    /// is opened, and what concerns only producers is left out: readers and publishers can share a list of settings. A
    /// value is never shown in an error, a log line or `Debug`.
    ///
    /// [property of librdkafka]: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.set(name, value);
        self
    }

    /// Connects, finds the partitions and marks their ends.
    pub async fn open(self) -> Result<KafkaReader, ReaderError> {
        let Self { settings, topic, start, progress } = self;
        if let Some(reserved) = settings.reserved(&RESERVED) {
            let what = format_args!("{reserved:?} can't be set: what the reader promises depends on its own value");
            let refused = Failure::of("set up the Kafka reader", RDKafkaErrorCode::InvalidArgument, what);
            return Err(ReaderError::settings(refused));
        }
        settings.check_brokers().map_err(|error| {
            let what = format_args!("the Kafka brokers can't be found: {error}");
            ReaderError::settings(Failure::of("set up the Kafka reader", RDKafkaErrorCode::InvalidArgument, what))
        })?;
        settings.check().map_err(ReaderError::settings)?;
        let client = Client::new(settings, topic)?;
        let ends = client.watermarks(OPEN_LIMIT).await?;
        let partitions: BTreeMap<u32, PartitionProgress> = ends
            .into_iter()
            .map(|(partition, marks)| {
                (partition, PartitionProgress::new(start.in_partition(partition, marks), marks.end))
            })
            .collect();
        client.assign(partitions.iter().map(|(&partition, progress)| (partition, progress.next)))?;
        let progress = progress.unwrap_or_else(|| match start {
            Start::Beginning => Progress::new(),
            Start::End | Start::Recent(_) | Start::Offsets(_) => Progress::joining_midway(),
        });
        Ok(KafkaReader::new(client, partitions, progress))
    }
}

impl Start {
    /// The first offset to read of a partition.
    fn in_partition(&self, partition: u32, Watermarks { low, end }: Watermarks) -> u64 {
        match self {
            Self::Beginning => low,
            Self::End => end,
            Self::Recent(offsets) => end.saturating_sub(*offsets).max(low),
            Self::Offsets(offsets) => offsets.get(&partition).copied().unwrap_or(low),
        }
    }
}
