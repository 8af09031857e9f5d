//! One producer, from its start to its first error.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders, ToBytes};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig, ThreadedProducer};
use tokio::task::JoinHandle;

use super::builder::KafkaPublisherBuilder;
use super::deliveries::{Deliveries, POSITION_TAG, Undelivered};
use super::positions::{self, PositionTopic};
use super::{Mode, record};
use crate::kafka::{
    Commit, Deadline, Failure, Verdict, commit_transaction, describe_topics, flush, partition_of, retire, within,
};
use crate::publisher::Rejection;
use crate::{Checkpoint, End, Envelope, Mismatch, Part, PublishError, Topic};

type Producer = ThreadedProducer<Deliveries>;

/// A larger batch makes nothing faster that was measured, and its records are refused together.
const BATCH_MAX_BYTES: usize = 128 * 1024;
/// The memory that librdkafka may take for records that are not acknowledged yet.
const QUEUE_MAX_KBYTES: usize = 64 * 1024;
/// The pause when librdkafka's queue is full.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(1);
/// After so many records the executor gets its turn, and failures are looked for.
const RECORDS_PER_TURN: usize = 256;
/// How long an abandoned transaction may take to abort. The next start aborts it in any case.
const ABORT_LIMIT: Duration = Duration::from_secs(3);
/// How long the reports of records may take that are given up.
const REPORTS_LIMIT: Duration = Duration::from_millis(500);
/// A record whose estimated size is so much below its topic's limit is not measured.
const UNMEASURED_BYTES: usize = 64 * 1024;
/// The least time between the end of a record's life in the queue and that of its transaction.
const TRANSACTION_MARGIN: Duration = Duration::from_secs(1);

/// A producer and what it knows of where it publishes.
pub(super) struct Session {
    /// Present until it is dropped.
    producer: Option<Arc<Producer>>,
    routes: HashMap<String, Route>,
    /// `None` in idempotent mode.
    transactions: Option<Transactions>,
    /// Whether records of a part that is not complete have been sent.
    is_open: bool,
    next_tag: usize,
    /// Each record travels in a batch of its own.
    one_by_one: bool,
    /// The publisher's, for its next session.
    one_by_one_next: Arc<AtomicBool>,
    checked_at: Instant,
    check_interval: Duration,
    closing: Arc<Closing>,
}

/// A topic that the feed publishes to.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) topic: Topic,
    pub(super) limits: Limits,
}

/// How large a record may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The largest batch that the topic takes, where it is known and records travel uncompressed.
    pub(super) batch_max_bytes: Option<usize>,
    /// The largest sum of key and value that the client takes (`message.max.bytes`).
    pub(super) message_max_bytes: usize,
}

/// What a transactional session knows of the position.
#[derive(Debug)]
pub(super) struct Transactions {
    pub(super) topic: PositionTopic,
    pub(super) relay: String,
    /// The value of the newest position record; `None` while the feed has no position.
    pub(super) position: Option<Vec<u8>>,
}

/// How a session differs from the next one of the same publisher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batching {
    /// The smallest limit of the topics that are written to, where it is known.
    pub(super) topic_max_bytes: Option<usize>,
    pub(super) one_by_one: bool,
}

impl Session {
    /// A producer that has asked nobody for anything yet.
    pub(super) fn create(
        options: &KafkaPublisherBuilder,
        batching: Batching,
        one_by_one_next: Arc<AtomicBool>,
        closing: Arc<Closing>,
    ) -> Result<Self, Failure> {
        let config = options.settings.producer(&producer_defaults(options, batching));
        let producer = Producer::from_config_and_context(&config, Deliveries::new("producer"))
            .map_err(|error| Failure::new("start a producer", &error))?;
        Ok(Self {
            producer: Some(Arc::new(producer)),
            routes: HashMap::new(),
            transactions: None,
            is_open: false,
            next_tag: 0,
            one_by_one: batching.one_by_one,
            one_by_one_next,
            checked_at: Instant::now(),
            check_interval: match options.mode {
                Mode::Transactional | Mode::Idempotent => options.metadata_check_interval,
                // Nobody else knows the broker, and it tells no ids.
                Mode::Ephemeral => Duration::MAX,
            },
            closing,
        })
    }

    /// Fences every older producer of the feed and ends what it left open.
    pub(super) async fn init_transactions(&mut self, deadline: Deadline) -> Result<(), Failure> {
        let producer = self.producer()?;
        let answer = within(deadline, "fence older relays", move |deadline| {
            let answer = producer.init_transactions(deadline.remaining());
            answer.map_err(|error| Failure::new("fence older relays", &error).explained_by(producer.context().log()))
        });
        answer.await??;
        // What happened on the way to the coordinator concerns no transaction of this producer.
        self.producer()?.context().log().forget_disturbance();
        Ok(())
    }

    pub(super) fn set_routes(&mut self, routes: HashMap<String, Route>) {
        self.routes = routes;
    }

    /// Writes the position again, in a transaction of its own: from then on the feed is this relay's.
    /// It also proves that the relay may write there.
    pub(super) async fn claim(&mut self, transactions: Transactions, deadline: Deadline) -> Result<(), PublishError> {
        self.transactions = Some(transactions);
        self.begin(deadline).await?;
        self.send_position(deadline).await?;
        self.commit(deadline).await
    }

    /// Publishes a part. After an error the session must be dropped.
    pub(super) async fn publish(&mut self, part: &Part<'_>, deadline: Deadline) -> Result<(), PublishError> {
        let first_tag = self.next_tag;
        let answer = self.publish_unjudged(part, deadline).await;
        let Err(error) = answer else { return Ok(()) };
        if !matches!(error, PublishError::Transient(_)) {
            return Err(error);
        }
        // What became of the records tells more than the call that failed because of them.
        Err(self.undelivered(first_tag).await.unwrap_or(error))
    }

    async fn publish_unjudged(&mut self, part: &Part<'_>, deadline: Deadline) -> Result<(), PublishError> {
        self.check_sizes(part.envelopes())?;
        let is_complete = matches!(part.end(), End::Complete(_));
        if !self.is_open {
            self.check_topics(deadline).await?;
            if self.transactions.is_some() && (is_complete || !part.envelopes().is_empty()) {
                self.begin(deadline).await?;
                if !part.envelopes().is_empty() {
                    // A record in the position's partition from the beginning: if a late EndTxn ends
                    // this transaction early, the broker refuses the last record there, and the commit.
                    self.send_position(deadline).await?;
                }
            }
        }
        self.send(part.envelopes(), deadline).await?;
        let Some(checkpoint) = part.checkpoint() else {
            if self.one_by_one {
                self.settle(deadline).await?;
            }
            return Ok(());
        };
        if let Some(transactions) = &mut self.transactions {
            transactions.position = Some(json(&checkpoint)?);
            self.send_position(deadline).await?;
            self.commit(deadline).await?;
        } else {
            self.settle(deadline).await?;
            self.is_open = false;
        }
        self.one_by_one_next.store(false, Ordering::Release);
        Ok(())
    }

    async fn begin(&mut self, deadline: Deadline) -> Result<(), PublishError> {
        let producer = self.producer()?;
        if producer.context().log().is_disturbed() {
            return Err(PublishError::transient(
                "the connection to the transaction coordinator broke: a new producer is needed",
            ));
        }
        let doing = "begin a Kafka transaction";
        let begun =
            within(deadline, doing, move |_| producer.begin_transaction().map_err(|error| Failure::new(doing, &error)));
        begun.await??;
        self.is_open = true;
        Ok(())
    }

    async fn commit(&mut self, deadline: Deadline) -> Result<(), PublishError> {
        let producer = self.producer()?;
        let committed = within(deadline, "commit the Kafka transaction", move |deadline| {
            let outcome = commit_transaction(producer.client(), deadline);
            outcome.map_err(|failure| failure.explained_by(producer.context().log()))
        });
        let outcome = self.purging_on_failure(committed).await??;
        self.is_open = false;
        let log = self.producer()?;
        if outcome == Commit::Repeated || log.context().log().is_disturbed() {
            // It says that it has committed, and a request for it may still be on its way.
            return Err(PublishError::transient(
                "the commit had to be asked for twice: the position tells whether it took place",
            ));
        }
        Ok(())
    }

    async fn send(&mut self, envelopes: &[Envelope], deadline: Deadline) -> Result<(), PublishError> {
        if !envelopes.is_empty() {
            self.is_open = true;
        }
        let producer = self.producer()?;
        for (index, envelope) in envelopes.iter().enumerate() {
            let route = self.route(envelope)?;
            let key = envelope.key();
            let mut record = BaseRecord::with_opaque_to(envelope.topic(), self.next_tag)
                .partition(partition_of(key.as_bytes(), route.topic.partitions))
                .key(key)
                .headers(record::headers_of(envelope));
            // A null value (a tombstone) and one of zero length (a stub) are not the same.
            record.payload = envelope.value();
            let sent = enqueue(&producer, record, deadline).await;
            sent.map_err(|failure| match failure.verdict() {
                Verdict::Refused => PublishError::rejected(index, refusal(failure.code())),
                _ => failure.into(),
            })?;
            self.next_tag += 1;
            if index % RECORDS_PER_TURN == RECORDS_PER_TURN - 1 {
                if producer.context().has_failed() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        if producer.context().has_failed() {
            return Err(PublishError::transient("a record was not delivered"));
        }
        Ok(())
    }

    /// All that are too large, before any is sent.
    fn check_sizes(&self, envelopes: &[Envelope]) -> Result<(), PublishError> {
        let mut rejections = Vec::new();
        for (index, envelope) in envelopes.iter().enumerate() {
            if let Some(reason) = self.route(envelope)?.limits.refusal(envelope) {
                rejections.push(Rejection { index, reason });
            }
        }
        if rejections.is_empty() { Ok(()) } else { Err(PublishError::Rejected(rejections)) }
    }

    /// Sends the position that is known.
    async fn send_position(&mut self, deadline: Deadline) -> Result<(), PublishError> {
        let producer = self.producer()?;
        let Some(transactions) = &self.transactions else {
            return Ok(());
        };
        let relay = Header { key: positions::RELAY_HEADER, value: Some(&transactions.relay) };
        let mut record = BaseRecord::with_opaque_to(&transactions.topic.name, POSITION_TAG)
            .partition(positions::PARTITION)
            .key(transactions.topic.key.as_str())
            .headers(OwnedHeaders::new_with_capacity(1).insert(relay));
        record.payload = transactions.position.as_deref();
        Ok(enqueue(&producer, record, deadline).await?)
    }

    /// Waits until every record that was sent is durable.
    async fn settle(&mut self, deadline: Deadline) -> Result<(), PublishError> {
        let producer = self.producer()?;
        let doing = "wait for Kafka's acknowledgements";
        let settled = within(deadline, doing, move |deadline| {
            if flush(producer.client(), deadline) {
                return Ok(());
            }
            let silence = Failure::of(doing, RDKafkaErrorCode::OperationTimedOut, "the brokers did not answer in time");
            Err(silence.explained_by(producer.context().log()))
        });
        self.purging_on_failure(settled).await??;
        match self.producer()?.context().has_failed() {
            true => Err(PublishError::transient("a record was not delivered")),
            false => Ok(()),
        }
    }

    /// Waits for a call that ends when every record is delivered or has failed. Once one has failed the others
    /// are of no use: librdkafka would keep them until they expire.
    async fn purging_on_failure<T>(&self, call: impl Future<Output = T>) -> T {
        let Some(producer) = self.producer.as_ref() else { return call.await };
        let mut call = std::pin::pin!(call);
        tokio::select! {
            biased;
            answer = &mut call => return answer,
            () = producer.context().wait_for_failure() => {}
        }
        producer.purge(PurgeConfig::default().queue().inflight().non_blocking());
        call.await
    }

    /// Why records were not delivered, if any was not; of a part whose first tag is `first_tag`.
    async fn undelivered(&self, first_tag: usize) -> Option<PublishError> {
        let producer = self.producer().ok()?;
        if !producer.context().has_failed() {
            return None;
        }
        producer.purge(PurgeConfig::default().queue().inflight().non_blocking());
        let reporting = Arc::clone(&producer);
        let reports = within(Deadline::after(REPORTS_LIMIT), "wait for the reports of records", move |deadline| {
            flush(reporting.client(), deadline)
        });
        // Those that are missing after that would only repeat what the others say.
        let _ = reports.await;
        if let Some((code, words)) = producer.client().fatal_error()
            && Failure::of("publish", code, &words).verdict() == Verdict::Fenced
        {
            return Some(PublishError::Fenced);
        }
        match producer.context().undelivered(self.one_by_one)? {
            Undelivered::Refused { tag: POSITION_TAG, code } => Some(PublishError::fatal(format!(
                "the feed's position can't be stored: {}; raise max.message.bytes of its topic",
                refusal(code)
            ))),
            Undelivered::Refused { tag, code } if tag >= first_tag => {
                Some(PublishError::rejected(tag - first_tag, refusal(code)))
            }
            // Its part has been given before this one: it comes again, and is asked about there.
            Undelivered::Refused { code, .. } | Undelivered::RefusedTogether { code } => {
                self.one_by_one_next.store(true, Ordering::Release);
                let failure = Failure::of("deliver records to Kafka", code, refusal(code));
                tracing::warn!(target: "change_feed::kafka", "{failure}: sending records one by one to find which");
                Some(PublishError::transient(failure))
            }
            Undelivered::Failed(failure) => Some(failure.into()),
        }
    }

    /// Looks from time to time whether the topics are what they were at the start.
    async fn check_topics(&mut self, deadline: Deadline) -> Result<(), PublishError> {
        if self.checked_at.elapsed() < self.check_interval {
            return Ok(());
        }
        let producer = self.producer()?;
        let names: Vec<String> = self.routes.keys().cloned().collect();
        let found = within(deadline, "look at the topics", move |deadline| {
            describe_topics(producer.client(), &names, deadline)
        });
        compare(&self.routes, &found.await??)?;
        self.checked_at = Instant::now();
        Ok(())
    }

    fn route(&self, envelope: &Envelope) -> Result<&Route, PublishError> {
        self.routes.get(&**envelope.topic()).ok_or_else(|| {
            let topic = envelope.topic();
            PublishError::fatal(format!("the topic {topic:?} was not named when the feed started: the router must"))
        })
    }

    fn producer(&self) -> Result<Arc<Producer>, Failure> {
        let gone = || Failure::of("use the producer", RDKafkaErrorCode::State, "it has been closed");
        self.producer.clone().ok_or_else(gone)
    }
}

impl Limits {
    /// Why the envelope's record is too large, if it is.
    fn refusal(&self, envelope: &Envelope) -> Option<String> {
        let (key, data) = (envelope.key().len(), envelope.data().len());
        if key + data > self.message_max_bytes {
            let (bytes, max_bytes) = (key + data, self.message_max_bytes);
            return Some(format!(
                "key and value have {bytes} bytes and the publisher takes {max_bytes} (message.max.bytes)"
            ));
        }
        // To measure is to write all headers: only for those that may be too large.
        let max_bytes =
            self.batch_max_bytes.filter(|max_bytes| envelope.size_bytes() + UNMEASURED_BYTES > *max_bytes)?;
        let bytes = record::batch_bytes(envelope);
        (bytes > max_bytes)
            .then(|| format!("the record has {bytes} bytes and the topic takes {max_bytes} (max.message.bytes)"))
    }
}

/// The end of a session's producer, for the next session to wait for: what the old one still had
/// to send must not arrive after what the new one sends.
#[derive(Debug, Default)]
pub(super) struct Closing {
    closing: Mutex<Option<JoinHandle<()>>>,
}

impl Closing {
    /// Waits for the end of the last producer, for a while.
    pub(super) async fn wait(&self) {
        let closing = self.lock().take();
        if let Some(closing) = closing
            && tokio::time::timeout(2 * ABORT_LIMIT, closing).await.is_err()
        {
            tracing::warn!(target: "change_feed::kafka", "the last producer does not end: it is left behind");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        // An option is whole at any time: a panic elsewhere can't have left half of it.
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(producer) = self.producer.take() else { return };
        let must_abort = self.is_open && self.transactions.is_some();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let closing = runtime.spawn_blocking(move || close(producer, must_abort));
                *self.closing.lock() = Some(closing);
            }
            Err(_) => close(producer, must_abort),
        }
    }
}

/// Forgets what was not delivered, and aborts what is open so that `read_committed` readers don't
/// wait for the cluster to do so.
fn close(producer: Arc<Producer>, must_abort: bool) {
    producer.context().log().hush();
    producer.purge(PurgeConfig::default().queue().inflight());
    if must_abort && let Err(error) = producer.abort_transaction(ABORT_LIMIT) {
        tracing::debug!(target: "change_feed::kafka", %error, "left a transaction to the next producer to abort");
    }
    retire(producer);
}

/// Checks that librdkafka takes the settings of a producer. Connects to nobody.
pub(super) fn check(options: &KafkaPublisherBuilder) -> Result<(), Failure> {
    let batching = Batching { topic_max_bytes: None, one_by_one: false };
    let config = options.settings.producer(&producer_defaults(options, batching));
    // Only a client that is made compares the settings with each other.
    let producer: Result<Producer, KafkaError> = Producer::from_config_and_context(&config, Deliveries::new("check"));
    producer.map(retire).map_err(|error| Failure::new("set up the Kafka producer", &error))
}

fn producer_defaults(options: &KafkaPublisherBuilder, batching: Batching) -> Vec<(&'static str, String)> {
    let batch_bytes = batching.topic_max_bytes.map_or(BATCH_MAX_BYTES, |limit| limit.min(BATCH_MAX_BYTES));
    let mut defaults = vec![
        ("acks", "all".to_owned()),
        ("enable.idempotence", "true".to_owned()),
        ("linger.ms", "5".to_owned()),
        ("batch.size", batch_bytes.to_string()),
        ("queue.buffering.max.kbytes", QUEUE_MAX_KBYTES.to_string()),
        ("queue.buffering.max.messages", "100000".to_owned()),
        // The topics exist: that a broker doesn't know one for 30 s is no reason to wait as long.
        ("topic.metadata.propagation.max.ms", "2000".to_owned()),
    ];
    if batching.one_by_one {
        defaults.push(("batch.num.messages", "1".to_owned()));
    }
    match options.mode {
        Mode::Transactional => {
            let record_timeout = options.transaction_timeout.saturating_sub(TRANSACTION_MARGIN);
            defaults.push(("transactional.id", format!("change-feed.{}", options.feed)));
            defaults.push(("transaction.timeout.ms", options.transaction_timeout.as_millis().to_string()));
            defaults.push(("message.timeout.ms", record_timeout.as_millis().to_string()));
        }
        Mode::Idempotent | Mode::Ephemeral => {
            // A record that is dropped while its followers are sent would break the order of a key:
            // none expires by itself, and after one that the broker refuses none follows.
            defaults.push(("message.timeout.ms", "0".to_owned()));
            defaults.push(("enable.gapless.guarantee", "true".to_owned()));
        }
    }
    defaults
}

/// Gives a record to librdkafka, and waits while its queue is full.
async fn enqueue<K: ToBytes + ?Sized, P: ToBytes + ?Sized>(
    producer: &Producer,
    record: BaseRecord<'_, K, P, usize>,
    deadline: Deadline,
) -> Result<(), Failure> {
    let mut record = record;
    loop {
        let Err((error, refused)) = producer.send(record) else {
            return Ok(());
        };
        let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
        if !is_full || deadline.has_passed() || producer.context().has_failed() {
            let fatal = producer.client().fatal_error();
            let failure = match fatal {
                Some((code, words)) => Failure::of("send a record", code, words),
                None => Failure::new("send a record", &error),
            };
            return Err(failure.explained_by(producer.context().log()));
        }
        record = refused;
        tokio::time::sleep(QUEUE_FULL_PAUSE).await;
    }
}

/// Whether the topics are what they were.
fn compare(routes: &HashMap<String, Route>, found: &BTreeMap<String, Topic>) -> Result<(), PublishError> {
    for (name, route) in routes {
        let Some(now) = found.get(name) else {
            return Err(super::start::missing_topic(name));
        };
        if now.partitions != route.topic.partitions {
            return Err(PublishError::Closed(Mismatch::Repartitioned {
                topic: name.clone(),
                stored: route.topic.partitions,
                found: now.partitions,
            }));
        }
        if let (Some(before), Some(now)) = (&route.topic.id, &now.id)
            && before != now
        {
            return Err(PublishError::Closed(Mismatch::TopicRecreated { topic: name.clone() }));
        }
    }
    Ok(())
}

fn json(checkpoint: &Checkpoint) -> Result<Vec<u8>, PublishError> {
    serde_json::to_vec(checkpoint).map_err(PublishError::transient)
}

/// Why a record is refused, in words that may be published.
fn refusal(code: impl Display) -> String {
    format!("the record is refused: {code}")
}
