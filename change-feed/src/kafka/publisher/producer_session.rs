//! One producer, from its start to its first error.

use std::collections::HashMap;
use std::ffi::CString;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{Producer as _, PurgeConfig};

use super::closing::Closing;
use super::deliveries::{POSITION_TAG, Undelivered};
use super::options::{Mode, Options};
use super::positions;
use super::positions::PositionTopic;
use super::producer;
use super::producer::{Batching, Producer};
use super::record;
use super::route;
use super::route::Route;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::envelope::Envelope;
use crate::feed::envelope::header::name;
use crate::feed::part::{End, Part};
use crate::kafka::cluster::describe_topics;
use crate::kafka::deadline::{Deadline, within};
use crate::kafka::error_table::{Reaction, classify};
use crate::kafka::failure::Failure;
use crate::kafka::murmur2::partition_of;
use crate::kafka::native::{Commit, commit_transaction, flush};
use crate::kafka::outgoing_record::{OutgoingRecord, RecordHeaders};
use crate::publisher::PublishError;
use crate::publisher::Rejection;

/// After this many records the executor gets its turn, and failures are looked for.
const RECORDS_PER_TURN: usize = 256;
/// How long the reports of purged records may take.
const REPORTS_LIMIT: Duration = Duration::from_millis(500);

/// A producer with its topics and its transaction.
pub(super) struct ProducerSession {
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

/// The position topic of a transactional session, and the newest position in it.
#[derive(Debug)]
pub(super) struct Transactions {
    pub(super) topic: PositionTopic,
    pub(super) topic_name: CString,
    pub(super) relay: String,
    /// The value of the newest position record; `None` while the feed has no position.
    pub(super) position: Option<Vec<u8>>,
}

impl ProducerSession {
    /// Creates a session that connects to nobody yet.
    pub(super) fn create(
        options: &Options,
        batching: Batching,
        one_by_one_next: Arc<AtomicBool>,
        closing: Arc<Closing>,
    ) -> Result<Self, Failure> {
        let producer = producer::create(options, batching, "producer")
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
        let producer = self.producer()?;
        producer.context().log().note_answer();
        // What happened on the way to the coordinator concerns no transaction of this producer.
        producer.context().log().forget_disturbance();
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
        let answer = self.send_and_end(part, deadline).await;
        let Err(error) = answer else { return Ok(()) };
        if !matches!(error, PublishError::Transient(_)) {
            return Err(error);
        }
        // The delivery reports explain more than the call that failed because of them.
        Err(self.undelivered(first_tag).await.unwrap_or(error))
    }

    async fn send_and_end(&mut self, part: &Part<'_>, deadline: Deadline) -> Result<(), PublishError> {
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
        #[cfg(feature = "failpoints")]
        fail::fail_point!("sent");
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
        #[cfg(feature = "failpoints")]
        fail::fail_point!("after_commit");
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
        #[cfg(feature = "failpoints")]
        fail::fail_point!("before_commit");
        let producer = self.producer()?;
        let committed = within(deadline, "commit the Kafka transaction", move |deadline| {
            let outcome = commit_transaction(producer.client(), deadline);
            outcome.map_err(|failure| failure.explained_by(producer.context().log()))
        });
        let outcome = self.purging_on_failure(committed).await?.map_err(Failure::of_working_client)?;
        self.is_open = false;
        let producer = self.producer()?;
        producer.context().log().note_answer();
        if outcome == Commit::Repeated || producer.context().log().is_disturbed() {
            // It has committed, and another request for it may still be on its way.
            return Err(PublishError::transient(
                "the commit was requested twice: the stored position shows whether it took place",
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
            let key = envelope.key().as_bytes();
            let record = OutgoingRecord {
                topic: &route.name,
                partition: partition_of(key, route.topic.partitions),
                key,
                value: envelope.value(),
                headers: record::headers_of(envelope),
                tag: self.next_tag,
            };
            let sent = producer::enqueue(&producer, record, deadline).await;
            sent.map_err(|failure| match failure.reaction() {
                Reaction::RejectRecord => PublishError::rejected(index, refusal(failure.code())),
                _ => failure.of_working_client(),
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
        let mut headers = RecordHeaders::with_capacity(1);
        headers.add(name::RELAY, &transactions.relay);
        let record = OutgoingRecord {
            topic: &transactions.topic_name,
            partition: positions::PARTITION,
            key: transactions.topic.key.as_bytes(),
            value: transactions.position.as_deref(),
            headers,
            tag: POSITION_TAG,
        };
        producer::enqueue(&producer, record, deadline).await.map_err(Failure::of_working_client)
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
        self.purging_on_failure(settled).await?.map_err(Failure::of_working_client)?;
        let producer = self.producer()?;
        if producer.context().has_failed() {
            return Err(PublishError::transient("a record was not delivered"));
        }
        producer.context().log().note_answer();
        Ok(())
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
        if let Some((code, _)) = producer.client().fatal_error()
            && classify(code) == Reaction::Fenced
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
            Undelivered::Failed(failure) => Some(failure.of_working_client()),
        }
    }

    /// Compares the topics with those of the start, once per interval.
    async fn check_topics(&mut self, deadline: Deadline) -> Result<(), PublishError> {
        if self.checked_at.elapsed() < self.check_interval {
            return Ok(());
        }
        let producer = self.producer()?;
        let names: Vec<String> = self.routes.keys().cloned().collect();
        let found = within(deadline, "look at the topics", move |deadline| {
            describe_topics(producer.client(), &names, deadline)
        });
        route::compare(&self.routes, &found.await??)?;
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

impl Drop for ProducerSession {
    fn drop(&mut self) {
        let Some(producer) = self.producer.take() else { return };
        let must_abort = self.is_open && self.transactions.is_some();
        self.closing.begin(producer, must_abort);
    }
}

fn json(checkpoint: &Checkpoint) -> Result<Vec<u8>, PublishError> {
    serde_json::to_vec(checkpoint).map_err(PublishError::transient)
}

/// Why a record is refused, in words that may be published.
fn refusal(code: impl Display) -> String {
    format!("the record is refused: {code}")
}
