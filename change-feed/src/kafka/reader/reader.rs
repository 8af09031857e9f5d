//! Reads a topic of Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use tokio::time::{Instant, sleep};

use super::builder::KafkaReaderBuilder;
use super::client::{Client, Watermarks};
use super::error::{Fate, ReaderError};
use super::partition::PartitionProgress;
use super::stragglers::{Remedy, Stragglers};
use super::vigil::Vigil;
use crate::consumer::event::ReceivedEvent;
use crate::consumer::progress::{Admission, Progress};
use crate::consumer::record::Record;
use crate::kafka::failure::Failure;

/// Reads every partition of one topic, without a group, and sees only what is committed
/// (`isolation.level=read_committed`).
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
    client: Client,
    vigil: Vigil,
    stragglers: Stragglers,
    partitions: BTreeMap<u32, PartitionProgress>,
    progress: Progress,
    /// The client has said that there is no such topic. A broker that has just started says so of every topic.
    is_topic_doubted: bool,
    /// Nothing has come since the client before this one gave no answer.
    is_cut_off: bool,
}

/// An event and what it is to this consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The event.
    pub event: ReceivedEvent,
    /// Whether it is new, repeated, or comes after a gap.
    pub admission: Admission,
}

/// What happened first.
enum Happened<'c> {
    Said(Result<BorrowedMessage<'c>, KafkaError>),
    Dead,
    Straggles(Remedy),
}

/// How long a reader asks for the ends of its partitions before it says that the broker is not available.
const ENDS_LIMIT: Duration = Duration::from_secs(10);
/// How long each of these questions may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);
/// The pause before the question is asked again.
const QUESTION_PAUSE: Duration = Duration::from_millis(100);

impl KafkaReader {
    /// A reader of `topic` on the cluster of these brokers (`host:port`, separated by commas),
    /// from its beginning.
    pub fn builder(brokers: &str, topic: impl Into<Arc<str>>) -> KafkaReaderBuilder {
        KafkaReaderBuilder::new(brokers, topic.into())
    }

    /// Of a client that has been told where to read.
    pub(super) fn new(client: Client, partitions: BTreeMap<u32, PartitionProgress>, progress: Progress) -> Self {
        let (vigil, stragglers) = (Vigil::new(), Stragglers::new());
        Self { client, vigil, stragglers, partitions, progress, is_topic_doubted: false, is_cut_off: false }
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

    /// Everything until the end, as [`next_before_end`](Self::next_before_end) gives it. Dropping the future drops what it
    /// has collected so far.
    pub async fn read_to_end(&mut self) -> Result<Vec<Received>, ReaderError> {
        let mut received = Vec::new();
        while let Some(next) = self.next_before_end().await? {
            received.push(next);
        }
        Ok(received)
    }

    /// Whether everything has been given that was in the topic when its end was marked.
    pub fn is_at_end(&self) -> bool {
        self.partitions.values().all(PartitionProgress::is_at_end)
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
        if self.is_topic_doubted {
            return self.make_sure_of_the_topic().await.map(|()| None);
        }
        let happened = tokio::select! {
            biased;
            said = self.client.receive() => Happened::Said(said),
            () = self.vigil.until_dead(&self.client) => Happened::Dead,
            remedy = self.stragglers.until_found(&self.client, &mut self.partitions) => Happened::Straggles(remedy),
        };
        // No await from here on: a message is taken, and dropping the future would lose it.
        let message = match happened {
            Happened::Said(Ok(message)) => message,
            Happened::Said(Err(error)) => return self.note(error).map(|()| None),
            Happened::Dead => return self.replace_client().map(|()| None),
            Happened::Straggles(remedy) => return self.urge(remedy).map(|()| None),
        };
        let record = record(self.client.topic(), &message);
        if let Some(progress) = self.partitions.get_mut(&record.partition) {
            progress.received(record.offset);
        }
        let parsed = ReceivedEvent::parse(&record);
        self.heard();
        let event = parsed?;
        let admission = self.progress.admit(&event);
        Ok(Some(Received { event, admission }))
    }

    /// What the client says instead of giving a message.
    fn note(&mut self, error: KafkaError) -> Result<(), ReaderError> {
        match error {
            KafkaError::PartitionEOF(partition) => {
                if let Ok(partition) = u32::try_from(partition)
                    && let Some(progress) = self.partitions.get_mut(&partition)
                {
                    progress.ended();
                }
                self.heard();
                Ok(())
            }
            error => self.note_trouble(&error),
        }
    }

    fn note_trouble(&mut self, error: &KafkaError) -> Result<(), ReaderError> {
        let source = || Box::new(Failure::new("read the topic", error));
        match Fate::of(error) {
            // The client's own log has it.
            Fate::Passing => Ok(()),
            Fate::NoTopic => {
                self.is_topic_doubted = true;
                Ok(())
            }
            Fate::Gone => Err(ReaderError::Gone { topic: Arc::clone(self.client.topic()), source: source() }),
            Fate::Fatal(remedy) => Err(ReaderError::Fatal { remedy, source: source() }),
        }
    }

    /// Looks whether the topic is there, and has the client read on if it is.
    async fn make_sure_of_the_topic(&mut self) -> Result<(), ReaderError> {
        match self.ends().await {
            Ok(_) => {
                self.is_topic_doubted = false;
                self.client.assign(next_offsets(&self.partitions))
            }
            // It can't be told at present. The doubt stays.
            Err(ReaderError::Unavailable(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Where the partitions end now. Asks again for a while: a broker that is just coming back knows neither its
    /// topics nor their leaders at first, and a client that does not answer may have to be replaced.
    async fn ends(&mut self) -> Result<BTreeMap<u32, Watermarks>, ReaderError> {
        let asked_until = Instant::now() + ENDS_LIMIT;
        let mut is_replaced = false;
        loop {
            let answer = self.client.watermarks(QUESTION_LIMIT).await;
            if answer.is_ok() {
                self.heard();
            }
            match &answer {
                Ok(ends) if ends.len() != self.partitions.len() => {
                    let (opened, found) = (self.partitions.len(), ends.len());
                    let topic = Arc::clone(self.client.topic());
                    return Err(ReaderError::Repartitioned { topic, opened, found });
                }
                Err(ReaderError::Unavailable(_) | ReaderError::NoTopic(_)) if Instant::now() < asked_until => {}
                _ => return answer,
            }
            if matches!(answer, Err(ReaderError::Unavailable(_))) && !is_replaced {
                self.replace_client()?;
                is_replaced = true;
            }
            sleep(QUESTION_PAUSE).await;
        }
    }

    /// Reads on with another client.
    fn replace_client(&mut self) -> Result<(), ReaderError> {
        self.client.replace(next_offsets(&self.partitions))?;
        let topic = &**self.client.topic();
        if self.is_cut_off {
            tracing::debug!(target: "change_feed::kafka", topic, "the broker still does not answer");
        } else {
            tracing::warn!(target: "change_feed::kafka", topic, "the broker does not answer: trying on with a new client");
        }
        self.is_cut_off = true;
        (self.vigil, self.stragglers) = (Vigil::new(), Stragglers::new());
        Ok(())
    }

    /// Has the client read on where it gives nothing though there is more.
    fn urge(&mut self, remedy: Remedy) -> Result<(), ReaderError> {
        let topic = &**self.client.topic();
        match remedy {
            Remedy::Assign => {
                tracing::debug!(target: "change_feed::kafka", topic, "a partition is silent: reading on from where it was");
                self.client.assign(next_offsets(&self.partitions))
            }
            Remedy::Replace => {
                tracing::warn!(target: "change_feed::kafka", topic, "a partition stays silent: trying on with a new client");
                self.client.replace(next_offsets(&self.partitions))?;
                self.vigil = Vigil::new();
                Ok(())
            }
        }
    }

    /// Something has come from the broker.
    fn heard(&mut self) {
        self.vigil.heard();
        if std::mem::take(&mut self.is_cut_off) {
            tracing::info!(target: "change_feed::kafka", topic = &**self.client.topic(), "the broker answers again");
        }
    }
}

fn next_offsets(partitions: &BTreeMap<u32, PartitionProgress>) -> impl Iterator<Item = (u32, u64)> {
    partitions.iter().map(|(&partition, progress)| (partition, progress.next))
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
            .field("topic", self.client.topic())
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
    use tokio::time::timeout;

    use super::*;
    use crate::feed::identity::tests::identity;
    use crate::feed::router::Router;
    use crate::kafka::development_broker::DevelopmentBroker;
    use crate::kafka::murmur2::partition_of;
    use crate::memory::database::MemoryDatabase;

    const PATIENCE: Duration = Duration::from_secs(30);
    const TOPIC: &str = "orders.events";
    const PARTITIONS: u32 = 2;

    /// An order in each partition.
    fn keys() -> [String; 2] {
        [0, 1].map(|partition| {
            let mut keys = (0..).map(|n| format!("order-{n}"));
            keys.find(|key| partition_of(key.as_bytes(), PARTITIONS) == partition).expect("there are many")
        })
    }

    /// The next version of each key.
    fn publish(broker: &DevelopmentBroker, database: &MemoryDatabase, keys: &[String]) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", broker.bootstrap_servers()).create().expect("a producer");
        let before = database.changes().len();
        database.commit(keys.iter().map(String::as_str));
        for change in database.changes().into_iter().skip(before) {
            let envelope = Router::to_topic(TOPIC).route(change, &identity()).expect("a topic for events");
            let headers = envelope
                .headers()
                .iter()
                .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
            let record = BaseRecord::to(TOPIC)
                .partition(partition_of(envelope.key().as_bytes(), PARTITIONS))
                .key(envelope.key())
                .payload(envelope.data())
                .headers(headers);
            producer.send(record).map_err(|(error, _)| error).expect("queued");
        }
        producer.flush(PATIENCE).expect("delivered");
    }

    async fn next(reader: &mut KafkaReader) -> (String, u64) {
        let received = timeout(PATIENCE, reader.next()).await.expect("something comes").expect("an event");
        (received.event.key().to_owned(), received.event.version())
    }

    #[tokio::test]
    async fn a_partition_that_its_client_ceased_to_read_is_read_on_by_itself() {
        let broker = DevelopmentBroker::start(&[(TOPIC, PARTITIONS)]).expect("a broker");
        let (database, [lost, other]) = (MemoryDatabase::new(), keys());
        let mut reader = timeout(PATIENCE, KafkaReader::builder(broker.bootstrap_servers(), TOPIC).open())
            .await
            .expect("it answers")
            .expect("a reader");
        publish(&broker, &database, &[lost.clone(), other.clone()]);
        let mut first = [next(&mut reader).await, next(&mut reader).await];
        first.sort_unstable();
        let mut expected = [(lost.clone(), 1), (other.clone(), 1)];
        expected.sort_unstable();
        assert_eq!(first, expected);

        reader.client.lose(partition_of(lost.as_bytes(), PARTITIONS));
        publish(&broker, &database, &[lost.clone(), other.clone()]);
        assert_eq!(next(&mut reader).await, (other.clone(), 2));
        assert!(timeout(Duration::from_millis(300), reader.next()).await.is_err(), "the client gives it after all");

        reader.stragglers = Stragglers::looking_every(Duration::from_millis(50));
        assert_eq!(next(&mut reader).await, (lost.clone(), 2));
        publish(&broker, &database, &[lost.clone(), other.clone()]);
        let mut last = [next(&mut reader).await, next(&mut reader).await];
        last.sort_unstable();
        assert_eq!(last.map(|(_, version)| version), [3, 3]);
    }
}
