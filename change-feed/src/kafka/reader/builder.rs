//! Sets up a reader of a topic of Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;

use super::client::{Client, Watermarks};
use super::error::ReaderError;
use super::partition::PartitionProgress;
use super::reader::KafkaReader;
use crate::consumer::progress::Progress;
use crate::consumer::progress_store::ProgressStore;
use crate::kafka::cluster_settings::ClusterSettings;
use crate::kafka::failure::Failure;

/// The limit of each query before reading begins.
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

/// Sets up a [`KafkaReader`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it opens a reader"]
pub struct KafkaReaderBuilder<P = Progress> {
    settings: ClusterSettings,
    topic: Arc<str>,
    start: Start,
    partitions: Option<BTreeSet<u32>>,
    progress: P,
    /// How progress that nobody has given is made to join the topic midway.
    join_midway: Option<fn(&mut P)>,
}

#[derive(Debug, Clone)]
enum Start {
    Beginning,
    End,
    Recent(u64),
    Offsets(BTreeMap<u32, u64>),
}

impl KafkaReader {
    /// A reader of `topic` on the cluster of these brokers (`host:port`, separated by commas),
    /// from its beginning.
    pub fn builder(brokers: &str, topic: impl Into<Arc<str>>) -> KafkaReaderBuilder {
        KafkaReaderBuilder {
            settings: ClusterSettings::new(brokers, "change-feed-reader"),
            topic: topic.into(),
            start: Start::Beginning,
            partitions: None,
            progress: Progress::new(),
            join_midway: Some(Progress::join_midway),
        }
    }
}

impl<P> KafkaReaderBuilder<P> {
    /// Starts after everything that is in the topic when the reader is opened.
    pub fn from_end(self) -> Self {
        Self { start: Start::End, ..self }
    }

    /// Starts this number of offsets before the end of each partition, or at its beginning: a page that shows
    /// what came last need not read everything. Markers of transactions take offsets too.
    pub fn from_recent(self, offsets: u64) -> Self {
        Self { start: Start::Recent(offsets), ..self }
    }

    /// Starts at these offsets, the next one to read of each partition; at the beginning of the
    /// partitions that are not named. A partition that the topic does not have is an error.
    pub fn from_offsets(self, offsets: impl IntoIterator<Item = (u32, u64)>) -> Self {
        Self { start: Start::Offsets(offsets.into_iter().collect()), ..self }
    }

    /// Reads these partitions alone. By default all of the topic's are read.
    pub fn partitions(self, partitions: impl IntoIterator<Item = u32>) -> Self {
        Self { partitions: Some(partitions.into_iter().collect()), ..self }
    }

    /// Goes on from this progress: [`Progress`], or a store of the consumer's own. Unless it is given, a reader that
    /// starts at the beginning expects every key at version 1, and any other takes each key as it finds it.
    pub fn progress<Q: ProgressStore>(self, progress: Q) -> KafkaReaderBuilder<Q> {
        let Self { settings, topic, start, partitions, .. } = self;
        KafkaReaderBuilder { settings, topic, start, partitions, progress, join_midway: None }
    }

    /// Sets a [property of librdkafka], such as those for TLS and SASL. What the reader needs itself is refused when it
    /// is opened, and what concerns only producers is left out: readers and publishers can share a list of settings. A
    /// value is never shown in an error, a log line or `Debug`.
    ///
    /// [property of librdkafka]: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.set(name, value);
        self
    }

    /// Connects, finds the partitions and marks their ends.
    pub async fn open(self) -> Result<KafkaReader<P>, ReaderError>
    where
        P: ProgressStore,
    {
        self.check()?;
        let Self { settings, topic, start, partitions: wanted, mut progress, join_midway } = self;
        let client = Client::new(settings, Arc::clone(&topic))?;
        let ends = client.watermarks(OPEN_LIMIT).await;
        let ends = ends.map_err(|failure| ReaderError::of_new_reader(&topic, failure))?;
        let count = ends.len();
        let mut named = wanted.iter().flatten().chain(start.named());
        if let Some(&partition) = named.find(|partition| !ends.contains_key(partition)) {
            return Err(ReaderError::NoPartition { topic, partition, found: count });
        }
        let is_wanted = |partition: &u32| wanted.as_ref().is_none_or(|wanted| wanted.contains(partition));
        let partitions: BTreeMap<u32, PartitionProgress> = ends
            .into_iter()
            .filter(|(partition, _)| is_wanted(partition))
            .map(|(partition, marks)| {
                (partition, PartitionProgress::new(start.in_partition(partition, marks), marks.end))
            })
            .collect();
        client.assign(partitions.iter().map(|(&partition, progress)| (partition, progress.next)))?;
        if let Some(join_midway) = join_midway
            && !matches!(start, Start::Beginning)
        {
            join_midway(&mut progress);
        }
        Ok(KafkaReader::new(client, count, partitions, progress))
    }

    fn check(&self) -> Result<(), ReaderError> {
        let refused = |what: &dyn std::fmt::Display| {
            ReaderError::settings(Failure::of("set up the Kafka reader", RDKafkaErrorCode::InvalidArgument, what))
        };
        let brokers = self.settings.check_brokers();
        brokers.map_err(|error| refused(&format_args!("the list of Kafka brokers is wrong: {error}")))?;
        if let Some(reserved) = self.settings.reserved(&RESERVED) {
            let what = format_args!("{reserved:?} can't be set: what the reader promises depends on its own value");
            return Err(refused(&what));
        }
        self.settings.check().map_err(ReaderError::settings)
    }
}

impl Start {
    /// The partitions that are named.
    fn named(&self) -> impl Iterator<Item = &u32> {
        match self {
            Self::Offsets(offsets) => Some(offsets.keys()),
            Self::Beginning | Self::End | Self::Recent(_) => None,
        }
        .into_iter()
        .flatten()
    }

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
