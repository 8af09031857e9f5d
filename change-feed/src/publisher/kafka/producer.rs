//! librdkafka's producer: how it is set up, and how a record is given to it.

use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::ToBytes;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use super::Mode;
use super::builder::KafkaPublisherBuilder;
use super::deliveries::Deliveries;
use crate::kafka::{Deadline, Failure, retire};

/// A larger batch makes nothing faster that was measured, and its records are refused together.
const BATCH_MAX_BYTES: usize = 128 * 1024;
/// The memory that librdkafka may take for records that are not acknowledged yet.
const QUEUE_MAX_KBYTES: usize = 64 * 1024;
/// The pause when librdkafka's queue is full.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(1);
/// The least time between the end of a record's life in the queue and that of its transaction.
const TRANSACTION_MARGIN: Duration = Duration::from_secs(1);

pub(super) type Producer = ThreadedProducer<Deliveries>;

/// How a session differs from the next one of the same publisher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batching {
    /// The smallest limit of the topics that are written to, where it is known.
    pub(super) topic_max_bytes: Option<usize>,
    pub(super) one_by_one: bool,
}

/// A producer that has asked nobody for anything yet. `role` is its name in the log.
pub(super) fn create(
    options: &KafkaPublisherBuilder,
    batching: Batching,
    role: &'static str,
) -> Result<Producer, KafkaError> {
    let config = options.settings.producer(&defaults(options, batching));
    Producer::from_config_and_context(&config, Deliveries::new(role))
}

/// Checks that librdkafka takes the settings of a producer. Connects to nobody.
pub(super) fn check(options: &KafkaPublisherBuilder) -> Result<(), Failure> {
    let batching = Batching { topic_max_bytes: None, one_by_one: false };
    // Only a client that is made compares the settings with each other.
    let producer = create(options, batching, "check");
    producer.map(retire).map_err(|error| Failure::new("set up the Kafka producer", &error))
}

fn defaults(options: &KafkaPublisherBuilder, batching: Batching) -> Vec<(&'static str, String)> {
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
pub(super) async fn enqueue<K: ToBytes + ?Sized, P: ToBytes + ?Sized>(
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
