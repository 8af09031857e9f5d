//! Reads a topic of Kafka.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::{self, Stream};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use tokio::time::{Instant, sleep};

use super::client::{Client, Watermarks};
use super::error::{Fate, ReaderError};
use super::given::Given;
use super::liveness::Liveness;
use super::partition::PartitionProgress;
use super::silent_partitions::{Finding, SilentPartitions};
use crate::consumer::admission::{Admission, Taken};
use crate::consumer::event::ReceivedEvent;
use crate::consumer::progress::Progress;
use crate::consumer::progress_store::{ProgressKey, ProgressStore, Received};
use crate::consumer::record::{Record, RecordError};
use crate::kafka::failure::Failure;

/// Reads one topic, all of its partitions or some, without a group, and sees only what is committed
/// (`isolation.level=read_committed`).
///
/// An event is given before it counts as taken. [`next`](Self::next) gives the same event again until the consumer has
/// [taken](Self::taken) it, or [passed it over](Self::passed_over): where the effect of an event failed, another call
/// gives it anew, as new as before. [`take_next`](Self::take_next) does both at once, for effects that can't fail.
///
/// It stores nothing: a consumer keeps [`offsets`](Self::offsets) and [`progress`](Self::progress)
/// where its effects are. It waits while the broker is away and goes on when it is back.
///
/// # Cancellation
///
/// Dropping the future of any call but [`read_to_end`](Self::read_to_end) loses nothing: the next call goes on.
///
/// ```no_run
/// use change_feed::kafka::KafkaReader;
/// # use change_feed::consumer::ReceivedEvent;
///
/// # async fn commit_effect(_: &ReceivedEvent) -> bool { true }
/// # async fn read() -> Result<(), Box<dyn std::error::Error>> {
/// let mut reader = KafkaReader::builder("127.0.0.1:9092", "orders.events").open().await?;
/// while let Some(received) = reader.next_before_end().await? {
///     if !received.admission.is_to_be_applied() {
///         println!("{}: {:?}", received.event, received.admission);
///         reader.passed_over(&received.event)?;
///     } else if commit_effect(&received.event).await {
///         reader.taken(&received.event)?;
///     }
/// }
/// println!("that was everything in the topic; now it is live");
/// let received = reader.take_next().await?;
/// # let _ = received;
/// # Ok(())
/// # }
/// ```
pub struct KafkaReader<P = Progress> {
    client: Client,
    liveness: Liveness,
    silent_partitions: SilentPartitions,
    /// The number of partitions of the topic.
    partition_count: usize,
    /// Those that are read.
    partitions: BTreeMap<u32, PartitionProgress>,
    given: Given,
    progress: P,
    /// An error that came after the events of a batch.
    pending_error: Option<ReaderError>,
    /// The client has reported that there is no such topic. A broker that has just started says so of every topic.
    is_topic_doubted: bool,
    /// Nothing has come since the client before this one gave no answer.
    is_cut_off: bool,
    /// When the credentials were refused, if nothing has come since.
    refused_at: Option<Instant>,
}

/// What has come from the client.
type Arrival = Result<Result<ReceivedEvent, RecordError>, KafkaError>;

/// What happened first.
enum Happened {
    Arrived(Arrival),
    Checked { lives: bool },
    Found(Finding),
}

/// How long a reader queries the ends of its partitions before it reports that the broker is not available.
const ENDS_LIMIT: Duration = Duration::from_secs(10);
/// The limit of each of these queries.
const QUERY_LIMIT: Duration = Duration::from_secs(5);
/// The pause between two of them.
const QUERY_PAUSE: Duration = Duration::from_millis(100);
/// How long the credentials of a reader that has read before may be refused: a token is refreshed, a password rotated.
const REFUSAL_LIMIT: Duration = Duration::from_secs(20);

impl<P: ProgressStore> KafkaReader<P> {
    /// A reader of a client that has been assigned its offsets.
    pub(super) fn new(
        client: Client,
        partition_count: usize,
        partitions: BTreeMap<u32, PartitionProgress>,
        progress: P,
    ) -> Self {
        Self {
            client,
            liveness: Liveness::new(),
            silent_partitions: SilentPartitions::new(),
            partition_count,
            partitions,
            given: Given::default(),
            progress,
            pending_error: None,
            is_topic_doubted: false,
            is_cut_off: false,
            refused_at: None,
        }
    }

    /// Waits for the next event. Until it is taken or passed over, each call gives it, looked up anew.
    ///
    /// A record that is no event is an error, once: the next call goes on after it.
    pub async fn next(&mut self) -> Result<Received, ReaderError> {
        Ok(self.next_batch(1).await?.remove(0))
    }

    /// Waits for the next event, and gives it with those after it that have arrived, at most `max` (and at least one).
    ///
    /// Each is classified as if those before it were taken. The batch ends with the first gap. Until they are taken or
    /// passed over, one by one, the next call gives them again.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Received>, ReaderError> {
        while self.given.is_empty() {
            self.step().await?;
        }
        while self.given.len() < max {
            let arrival = self.client.receive().now_or_never();
            let Some(arrival) = arrival.map(|message| parse(self.client.topic(), message)) else { break };
            if let Err(error) = self.receive(arrival) {
                self.pending_error = Some(error);
                break;
            }
        }
        if let Some(error) = self.given.take_error() {
            return Err(error.into());
        }
        self.classify(max.max(1)).await
    }

    /// The next event; `None` when everything has been taken that was in the topic when the reader
    /// was opened, or when the [end was marked](Self::mark_end) last. Some that came later may be
    /// among what is given.
    pub async fn next_before_end(&mut self) -> Result<Option<Received>, ReaderError> {
        while self.given.is_empty() {
            if self.is_at_end() {
                return Ok(None);
            }
            self.step().await?;
        }
        self.next().await.map(Some)
    }

    /// Notes that an event has taken effect. `next` goes on after it.
    ///
    /// The events of a partition are taken in the order in which they were given; any other is
    /// [refused](ReaderError::NotNext), and nothing is noted.
    pub fn taken(&mut self, event: &ReceivedEvent) -> Result<(), ReaderError> {
        self.passed_over(event)?;
        self.progress.take(&event.into(), event.into());
        Ok(())
    }

    /// Goes on after an event without taking it: a duplicate, or a gap that the consumer leaves open.
    pub fn passed_over(&mut self, event: &ReceivedEvent) -> Result<(), ReaderError> {
        if self.given.remove(event) {
            return Ok(());
        }
        Err(ReaderError::NotNext { partition: event.partition(), offset: event.offset() })
    }

    /// Takes an event that is to be applied, and passes over any other.
    pub fn admit(&mut self, received: &Received) -> Result<(), ReaderError> {
        match received.admission.is_to_be_applied() {
            true => self.taken(&received.event),
            false => self.passed_over(&received.event),
        }
    }

    /// Waits for the next event and [admits](Self::admit) it: for consumers whose effects can't fail.
    pub async fn take_next(&mut self) -> Result<Received, ReaderError> {
        let received = self.next().await?;
        self.admit(&received)?;
        Ok(received)
    }

    /// Everything until the end, as [`next_before_end`](Self::next_before_end) gives it, admitted. Dropping the future
    /// drops what it has collected.
    pub async fn read_to_end(&mut self) -> Result<Vec<Received>, ReaderError> {
        let mut all = Vec::new();
        while let Some(received) = self.next_before_end().await? {
            self.admit(&received)?;
            all.push(received);
        }
        Ok(all)
    }

    /// Whether everything has been taken or passed over that was in the topic when its end was marked.
    pub fn is_at_end(&self) -> bool {
        self.given.is_empty() && self.partitions.values().all(PartitionProgress::is_at_end)
    }

    /// Marks what is committed now as the end for [`next_before_end`](Self::next_before_end).
    ///
    /// A broker that is away is given ten seconds to come back.
    pub async fn mark_end(&mut self) -> Result<(), ReaderError> {
        for (partition, Watermarks { end, .. }) in self.ends().await? {
            if let Some(progress) = self.partitions.get_mut(&partition) {
                progress.mark_end(end);
            }
        }
        self.client.assign(next_offsets(&self.partitions))
    }

    /// Reads more partitions, each from this offset: those of a group's member after a rebalance. The offset is the one
    /// that is stored with the effects, read when the partition was assigned.
    pub async fn assign(&mut self, offsets: impl IntoIterator<Item = (u32, u64)>) -> Result<(), ReaderError> {
        let offsets: Vec<_> = offsets.into_iter().collect();
        let ends = self.ends().await?;
        if let Some(&(partition, _)) = offsets.iter().find(|(partition, _)| !ends.contains_key(partition)) {
            let topic = Arc::clone(self.client.topic());
            return Err(ReaderError::NoPartition { topic, partition, found: ends.len() });
        }
        for (partition, next) in offsets {
            self.given.forget(partition);
            self.progress.forget(partition);
            let end = ends.get(&partition).map_or(next, |ends| ends.end);
            self.partitions.insert(partition, PartitionProgress::new(next, end));
        }
        self.client.assign(next_offsets(&self.partitions))
    }

    /// Reads these partitions no more. Their events that were given and not taken are dropped, and their progress is
    /// forgotten: another reader may go on there.
    pub fn revoke(&mut self, partitions: impl IntoIterator<Item = u32>) -> Result<(), ReaderError> {
        for partition in partitions {
            self.partitions.remove(&partition);
            self.given.forget(partition);
            self.progress.forget(partition);
        }
        self.client.assign(next_offsets(&self.partitions))
    }

    /// The offset of each partition at which a later reader goes on
    /// ([`from_offsets`](crate::kafka::KafkaReaderBuilder::from_offsets)): that of the first event that is neither taken
    /// nor passed over.
    pub fn offsets(&self) -> BTreeMap<u32, u64> {
        let next = |(&partition, progress): (&u32, &PartitionProgress)| {
            (partition, self.given.first_offset(partition).unwrap_or(progress.next))
        };
        self.partitions.iter().map(next).collect()
    }

    /// How far each key has come.
    pub fn progress(&self) -> &P {
        &self.progress
    }

    /// The same, for a consumer that makes its store read again what may have changed: whether a commit whose answer was
    /// lost took place.
    pub fn progress_mut(&mut self) -> &mut P {
        &mut self.progress
    }

    /// The events as a stream: to ask for the next one [admits](Self::admit) the one before. It ends after an error that a
    /// further call would only repeat.
    pub fn into_stream(self) -> impl Stream<Item = Result<Received, ReaderError>> + Send {
        stream::unfold(Some((self, None)), |state| async move {
            let (mut reader, given): (Self, Option<Received>) = state?;
            if let Some(given) = given
                && let Err(error) = reader.admit(&given)
            {
                return Some((Err(error), None));
            }
            match reader.next().await {
                Ok(received) => Some((Ok(received.clone()), Some((reader, Some(received))))),
                Err(ReaderError::Record(error)) => Some((Err(error.into()), Some((reader, None)))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Classifies the first events that were given, through the first gap.
    async fn classify(&mut self, max: usize) -> Result<Vec<Received>, ReaderError> {
        let keys: Vec<ProgressKey<'_>> = self.given.events(max).map(ProgressKey::from).collect();
        self.progress.load(&keys).await.map_err(ReaderError::Progress)?;
        let first = self.progress.first_version();
        let mut batch: Vec<Received> = Vec::with_capacity(keys.len());
        // What would be taken of the batch so far.
        let mut applied: HashMap<ProgressKey<'_>, Taken> = HashMap::new();
        for event in self.given.events(max) {
            let key = ProgressKey::from(event);
            let last = applied.get(&key).copied().or_else(|| self.progress.last(&key));
            let received = Received::new(event.clone(), last, first);
            let is_gap = matches!(received.admission, Admission::Gap { .. });
            if received.admission.is_to_be_applied() && max > 1 {
                applied.insert(key, event.into());
            }
            batch.push(received);
            if is_gap {
                break;
            }
        }
        Ok(batch)
    }

    /// Waits for the next message, or for what a check finds.
    async fn step(&mut self) -> Result<(), ReaderError> {
        if let Some(error) = self.pending_error.take() {
            return Err(error);
        }
        if self.is_topic_doubted {
            return self.look_for_topic().await;
        }
        let happened = tokio::select! {
            biased;
            message = self.client.receive() => Happened::Arrived(parse(self.client.topic(), message)),
            lives = self.liveness.check(&self.client) => Happened::Checked { lives },
            finding = self.silent_partitions.until_found(&self.client, &mut self.partitions, self.partition_count) => {
                Happened::Found(finding)
            }
        };
        // No await from here on: a message is taken from the client, and dropping the future would lose it.
        match happened {
            Happened::Arrived(arrival) => self.receive(arrival),
            Happened::Checked { lives: true } => {
                self.note_answer();
                Ok(())
            }
            Happened::Checked { lives: false } => self.replace_client(),
            Happened::Found(finding) => self.handle(finding),
        }
    }

    /// Notes what has come from the client.
    fn receive(&mut self, arrival: Arrival) -> Result<(), ReaderError> {
        let record = match arrival {
            Ok(record) => record,
            Err(KafkaError::PartitionEOF(partition)) => {
                if let Some(progress) = self.partitions.get_mut(&partition.unsigned_abs()) {
                    progress.ended();
                }
                self.note_answer();
                return Ok(());
            }
            Err(error) => return self.note_error(&error),
        };
        self.note_answer();
        let (partition, offset) = match &record {
            Ok(event) => (event.partition(), event.offset()),
            Err(error) => (error.partition, error.offset),
        };
        // A message of a partition that was revoked may still come, and is another reader's.
        if let Some(progress) = self.partitions.get_mut(&partition) {
            progress.received(offset);
            self.given.push(record);
        }
        Ok(())
    }

    fn note_error(&mut self, error: &KafkaError) -> Result<(), ReaderError> {
        let source = || Box::new(Failure::new("read the topic", error));
        match Fate::of(error) {
            // The client's own log has it.
            Fate::Passing => Ok(()),
            Fate::Refused(remedy) => {
                let refused_at = *self.refused_at.get_or_insert_with(Instant::now);
                match refused_at.elapsed() < REFUSAL_LIMIT {
                    true => Ok(()),
                    false => Err(ReaderError::Fatal { remedy, source: source() }),
                }
            }
            Fate::NoTopic => {
                self.is_topic_doubted = true;
                Ok(())
            }
            Fate::Gone => Err(ReaderError::Gone { topic: Arc::clone(self.client.topic()), source: source() }),
            Fate::Fatal(remedy) => Err(ReaderError::Fatal { remedy, source: source() }),
        }
    }

    /// Reads on if the topic is there.
    async fn look_for_topic(&mut self) -> Result<(), ReaderError> {
        match self.ends().await {
            Ok(_) => {
                self.is_topic_doubted = false;
                self.client.assign(next_offsets(&self.partitions))
            }
            // The broker does not answer at present. The doubt stays.
            Err(ReaderError::Unavailable(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Where the partitions of the topic end now. Tries again for a while: a broker that is just coming back knows
    /// neither its topics nor their leaders at first, and a client that does not answer may have to be replaced.
    async fn ends(&mut self) -> Result<BTreeMap<u32, Watermarks>, ReaderError> {
        let gives_up_at = Instant::now() + ENDS_LIMIT;
        let mut is_replaced = false;
        loop {
            let answer = self.client.watermarks(QUERY_LIMIT).await;
            let answer = answer.map_err(|failure| ReaderError::of_working_reader(self.client.topic(), failure));
            if answer.is_ok() {
                self.note_answer();
            }
            match &answer {
                Ok(ends) if ends.len() != self.partition_count => return Err(self.repartitioned(ends.len())),
                Err(ReaderError::Unavailable(_) | ReaderError::NoTopic(_)) if Instant::now() < gives_up_at => {}
                _ => return answer,
            }
            if matches!(answer, Err(ReaderError::Unavailable(_))) && !is_replaced {
                self.replace_client()?;
                is_replaced = true;
            }
            sleep(QUERY_PAUSE).await;
        }
    }

    fn repartitioned(&self, found: usize) -> ReaderError {
        ReaderError::Repartitioned { topic: Arc::clone(self.client.topic()), opened: self.partition_count, found }
    }

    /// Reads on with another client.
    fn replace_client(&mut self) -> Result<(), ReaderError> {
        self.client.replace(next_offsets(&self.partitions))?;
        let topic = &**self.client.topic();
        if self.is_cut_off {
            tracing::debug!(target: "change_feed::kafka", topic, "the broker still does not answer");
        } else {
            tracing::warn!(target: "change_feed::kafka", topic, "the broker does not answer: trying a new client");
        }
        self.is_cut_off = true;
        (self.liveness, self.silent_partitions) = (Liveness::new(), SilentPartitions::new());
        Ok(())
    }

    fn handle(&mut self, finding: Finding) -> Result<(), ReaderError> {
        let topic = &**self.client.topic();
        match finding {
            Finding::Silent => {
                tracing::debug!(target: "change_feed::kafka", topic, "a partition gives nothing: assigning it again");
                self.client.assign(next_offsets(&self.partitions))
            }
            Finding::StillSilent => {
                tracing::warn!(target: "change_feed::kafka", topic, "a partition still gives nothing: trying a new client");
                self.client.replace(next_offsets(&self.partitions))?;
                self.liveness = Liveness::new();
                Ok(())
            }
            Finding::Repartitioned(found) => Err(self.repartitioned(found)),
        }
    }

    /// Notes that something has come from the broker.
    fn note_answer(&mut self) {
        self.liveness.note_answer();
        self.client.note_answer();
        self.refused_at = None;
        if std::mem::take(&mut self.is_cut_off) {
            tracing::info!(target: "change_feed::kafka", topic = &**self.client.topic(), "the broker answers again");
        }
    }
}

fn next_offsets(partitions: &BTreeMap<u32, PartitionProgress>) -> impl Iterator<Item = (u32, u64)> {
    partitions.iter().map(|(&partition, progress)| (partition, progress.next))
}

fn parse(topic: &Arc<str>, message: Result<BorrowedMessage<'_>, KafkaError>) -> Arrival {
    message.map(|message| ReceivedEvent::parse(&record(topic, &message)))
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

impl<P> std::fmt::Debug for KafkaReader<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaReader")
            .field("topic", self.client.topic())
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
