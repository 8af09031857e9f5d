//! Reads a topic of Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream};
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tracing::warn;

use super::event::ReceivedEvent;
use super::progress::{Admission, Progress};
use super::record::{Record, RecordError};

/// Reads every partition of one topic, without a group, and sees only what is committed
/// (`isolation.level=read_committed`).
///
/// It stores nothing: a consumer keeps [`offsets`](Self::offsets) and [`progress`](Self::progress)
/// where its effects are. It waits while the broker is away and goes on when it is back.
///
/// # Cancellation
///
/// Dropping the future of any call loses nothing: the next call goes on.
///
/// ```no_run
/// use change_feed::consumer::KafkaReader;
///
/// # async fn read() -> Result<(), Box<dyn std::error::Error>> {
/// let mut reader = KafkaReader::builder("127.0.0.1:9092", "orders.events").open().await?;
/// while let Some(received) = reader.next_before_end().await? {
///     println!("{}: {:?}", received.event, received.admission);
/// }
/// println!("that was everything in the topic; now it is live");
/// let received = reader.next().await?;
/// # let _ = received;
/// # Ok(())
/// # }
/// ```
pub struct KafkaReader {
    consumer: Arc<StreamConsumer>,
    topic: Arc<str>,
    partitions: BTreeMap<u32, PartitionProgress>,
    progress: Progress,
}

/// An event and what it is to this consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The event.
    pub event: ReceivedEvent,
    /// Whether it is new, repeated, or comes after a gap.
    pub admission: Admission,
}

/// Why a reader can't go on, by what the caller does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReaderError {
    /// Again: the broker did not answer in time.
    #[error("the broker is not available at present")]
    Unavailable(#[source] KafkaError),
    /// Pass it over or stop: the next call goes on after it.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Start anew: the records at the offset that should come next are gone, or never were.
    #[error("the records of {topic:?} from where this reader stood are gone: {source}")]
    Gone {
        /// The topic.
        topic: Arc<str>,
        /// What the client says.
        source: KafkaError,
    },
    /// Create it, or correct the name.
    #[error("there is no topic {0:?}")]
    NoTopic(Arc<str>),
    /// Open a new reader: the topic has another number of partitions than when this one was opened.
    #[error("topic {topic:?} has {found} partitions, and had {opened} when the reader was opened")]
    Repartitioned {
        /// The topic.
        topic: Arc<str>,
        /// The number of partitions when the reader was opened.
        opened: usize,
        /// The number of partitions now.
        found: usize,
    },
    /// Stop: trying again changes nothing before somebody changes the set-up.
    #[error("the topic can't be read")]
    Fatal(#[source] KafkaError),
}

/// How to read a topic.
#[derive(Debug, Clone)]
pub struct KafkaReaderBuilder {
    config: ClientConfig,
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

#[derive(Debug, Clone, Copy)]
struct PartitionProgress {
    /// The offset that comes next.
    next: u64,
    /// The end when it was last marked.
    end: u64,
}

/// How long the broker may take to answer what is asked before reading begins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

impl KafkaReaderBuilder {
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

    /// Sets a property of the client ([librdkafka's list]), such as those for TLS and SASL. What
    /// the reader needs itself can't be changed.
    ///
    /// [librdkafka's list]: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.config.set(name, value);
        self
    }

    /// Connects, finds the partitions and marks their ends.
    pub async fn open(self) -> Result<KafkaReader, ReaderError> {
        let Self { mut config, topic, start, progress } = self;
        // A group is named since librdkafka assigns nothing without one; it is never joined.
        config
            .set("group.id", "change-feed-reader")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false");
        let consumer: StreamConsumer = config.create().map_err(ReaderError::Fatal)?;
        let consumer = Arc::new(consumer);
        let ends = watermarks(&consumer, &topic).await?;
        let midway = !matches!(start, Start::Beginning);
        let partitions: BTreeMap<u32, PartitionProgress> = ends
            .into_iter()
            .map(|(partition, Watermarks { low, end })| {
                let next = match &start {
                    Start::Beginning => low,
                    Start::End => end,
                    Start::Recent(offsets) => end.saturating_sub(*offsets).max(low),
                    Start::Offsets(offsets) => offsets.get(&partition).copied().unwrap_or(low),
                };
                (partition, PartitionProgress { next, end })
            })
            .collect();
        assign(&consumer, &topic, &partitions)?;
        let fresh = if midway { Progress::joining_midway() } else { Progress::new() };
        Ok(KafkaReader { consumer, topic, partitions, progress: progress.unwrap_or(fresh) })
    }
}

impl KafkaReader {
    /// A reader of `topic` on the cluster of these brokers (`host:port`, separated by commas),
    /// from its beginning.
    pub fn builder(brokers: &str, topic: impl Into<Arc<str>>) -> KafkaReaderBuilder {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            // As quick as the broker: half a second is the default, at the end of each partition.
            .set("fetch.wait.max.ms", "10")
            .set("reconnect.backoff.max.ms", "500");
        KafkaReaderBuilder { config, topic: topic.into(), start: Start::Beginning, progress: None }
    }

    /// Waits for the next event.
    pub async fn next(&mut self) -> Result<Received, ReaderError> {
        loop {
            if let Some(received) = self.step().await? {
                return Ok(received);
            }
        }
    }

    /// The next event; `None` when everything has been given that was in the topic when the reader
    /// was opened, or when the [end was marked](Self::mark_end) last. Some that came later may be
    /// among what is given.
    pub async fn next_before_end(&mut self) -> Result<Option<Received>, ReaderError> {
        while !self.is_at_end() {
            if let Some(received) = self.step().await? {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    /// Everything until the end, as [`next_before_end`](Self::next_before_end) gives it.
    pub async fn read_to_end(&mut self) -> Result<Vec<Received>, ReaderError> {
        let mut received = Vec::new();
        while let Some(next) = self.next_before_end().await? {
            received.push(next);
        }
        Ok(received)
    }

    /// Whether everything has been given that was in the topic when its end was marked.
    pub fn is_at_end(&self) -> bool {
        self.partitions.values().all(|partition| partition.next >= partition.end)
    }

    /// Marks what is committed now as the end for [`next_before_end`](Self::next_before_end).
    pub async fn mark_end(&mut self) -> Result<(), ReaderError> {
        let ends = watermarks(&self.consumer, &self.topic).await?;
        if ends.len() != self.partitions.len() {
            let (opened, found) = (self.partitions.len(), ends.len());
            return Err(ReaderError::Repartitioned { topic: Arc::clone(&self.topic), opened, found });
        }
        for (partition, Watermarks { end, .. }) in ends {
            if let Some(progress) = self.partitions.get_mut(&partition) {
                progress.end = end;
            }
        }
        // News of an end that is waiting in the client would be taken for news of this one.
        assign(&self.consumer, &self.topic, &self.partitions)
    }

    /// The next offset of each partition: where a later reader goes on
    /// ([`from_offsets`](KafkaReaderBuilder::from_offsets)).
    pub fn offsets(&self) -> BTreeMap<u32, u64> {
        self.partitions.iter().map(|(&partition, progress)| (partition, progress.next)).collect()
    }

    /// How far each key has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The events as a stream, which ends after an error that a further call would only repeat.
    pub fn into_stream(self) -> impl Stream<Item = Result<Received, ReaderError>> + Send {
        stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(received) => Some((Ok(received), Some(reader))),
                Err(ReaderError::Record(error)) => Some((Err(error.into()), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Takes what the client has next; `None` if that was no event but news of the partitions.
    async fn step(&mut self) -> Result<Option<Received>, ReaderError> {
        let message = match self.consumer.recv().await {
            Ok(message) => message,
            Err(error) => return self.note(error).map(|()| None),
        };
        // No await from here on: the message is taken, and dropping the future would lose it.
        let record = record(&self.topic, &message);
        if let Some(progress) = self.partitions.get_mut(&record.partition) {
            progress.next = record.offset + 1;
        }
        let event = ReceivedEvent::parse(&record)?;
        let admission = self.progress.admit(&event);
        Ok(Some(Received { event, admission }))
    }

    /// What the client says instead of giving a message.
    fn note(&mut self, error: KafkaError) -> Result<(), ReaderError> {
        match error {
            // Under read_committed the end is the last stable offset, and offsets before it that
            // gave no message hold markers and aborted records.
            KafkaError::PartitionEOF(partition) => {
                if let Ok(partition) = u32::try_from(partition)
                    && let Some(progress) = self.partitions.get_mut(&partition)
                {
                    progress.next = progress.next.max(progress.end);
                }
                Ok(())
            }
            error => match fate(&error) {
                Fate::Passing => {
                    warn!(topic = &*self.topic, %error, "the client goes on by itself");
                    Ok(())
                }
                Fate::Gone => Err(ReaderError::Gone { topic: Arc::clone(&self.topic), source: error }),
                Fate::NoTopic => Err(ReaderError::NoTopic(Arc::clone(&self.topic))),
                Fate::Fatal => Err(ReaderError::Fatal(error)),
            },
        }
    }
}

enum Fate {
    /// The client tries again by itself.
    Passing,
    Gone,
    NoTopic,
    Fatal,
}

fn fate(error: &KafkaError) -> Fate {
    use RDKafkaErrorCode as Code;
    if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
        return Fate::Fatal;
    }
    match error.rdkafka_error_code() {
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Fate::Gone,
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => Fate::NoTopic,
        Some(
            Code::Authentication | Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed | Code::Fatal,
        ) => Fate::Fatal,
        _ => Fate::Passing,
    }
}

/// The offsets between which a partition's committed records are.
struct Watermarks {
    low: u64,
    /// The last stable offset.
    end: u64,
}

async fn watermarks(
    consumer: &Arc<StreamConsumer>,
    topic: &Arc<str>,
) -> Result<BTreeMap<u32, Watermarks>, ReaderError> {
    let (consumer, topic) = (Arc::clone(consumer), Arc::clone(topic));
    let asked = tokio::task::spawn_blocking(move || ask_watermarks(&consumer, &topic));
    // The task neither panics nor is it aborted, unless the runtime goes down with it.
    asked.await.unwrap_or(Err(ReaderError::Unavailable(KafkaError::Canceled)))
}

fn ask_watermarks(consumer: &StreamConsumer, topic: &Arc<str>) -> Result<BTreeMap<u32, Watermarks>, ReaderError> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_TIMEOUT).map_err(|error| unanswered(topic, error))?;
    let found = metadata.topics().iter().find(|found| found.name() == &**topic);
    let partitions = match found.map(|found| (found.error(), found.partitions())) {
        None | Some((None, [])) => return Err(ReaderError::NoTopic(Arc::clone(topic))),
        Some((Some(code), _)) => return Err(unanswered(topic, KafkaError::MetadataFetch(code.into()))),
        Some((None, partitions)) => partitions,
    };
    let ask = |id: i32| {
        let (low, end) =
            consumer.fetch_watermarks(topic, id, ANSWER_TIMEOUT).map_err(|error| unanswered(topic, error))?;
        Ok((id.unsigned_abs(), Watermarks { low: low.unsigned_abs(), end: end.unsigned_abs() }))
    };
    partitions.iter().map(|partition| ask(partition.id())).collect()
}

fn unanswered(topic: &Arc<str>, error: KafkaError) -> ReaderError {
    match fate(&error) {
        Fate::Fatal => ReaderError::Fatal(error),
        Fate::NoTopic => ReaderError::NoTopic(Arc::clone(topic)),
        _ => ReaderError::Unavailable(error),
    }
}

fn assign(
    consumer: &StreamConsumer,
    topic: &str,
    partitions: &BTreeMap<u32, PartitionProgress>,
) -> Result<(), ReaderError> {
    let mut list = TopicPartitionList::new();
    for (&partition, progress) in partitions {
        // Kafka numbers partitions and offsets with signed integers, and gave us these.
        let offset = Offset::Offset(i64::try_from(progress.next).unwrap_or(i64::MAX));
        list.add_partition_offset(topic, i32::try_from(partition).unwrap_or(i32::MAX), offset)
            .map_err(ReaderError::Fatal)?;
    }
    consumer.assign(&list).map_err(ReaderError::Fatal)
}

fn record<'a>(topic: &Arc<str>, message: &'a BorrowedMessage<'_>) -> Record<'a> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        topic: Arc::clone(topic),
        partition: message.partition().unsigned_abs(),
        offset: message.offset().unsigned_abs(),
        key: message.key(),
        headers: headers.map(|header| (header.key, header.value.unwrap_or_default())).collect(),
        payload: message.payload(),
    }
}

impl std::fmt::Debug for KafkaReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaReader")
            .field("topic", &self.topic)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}
