//! librdkafka's producer: how it is set up, and how a record is given to it.

use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{Producer as _, ThreadedProducer};

use super::deliveries::Deliveries;
use super::options::{Mode, Options};
use crate::kafka::deadline::{Deadline, retire};
use crate::kafka::failure::Failure;
use crate::kafka::outgoing_record::{OutgoingRecord, produce};

/// A larger batch makes nothing faster that was measured, and its records are refused together.
const BATCH_MAX_BYTES: usize = 128 * 1024;
/// The keys and values that librdkafka may hold of records that are not acknowledged yet.
const QUEUE_MAX_KBYTES: usize = 16 * 1024;
/// As many records, or a whole part: their headers take more memory than a small value, and librdkafka doesn't count
/// them.
const QUEUE_MAX_RECORDS: usize = 10_000;
/// How long a batch may wait for more records while a part is being sent. Its end sends what is left at once, so this
/// delays no part; larger batches cost the client and the broker less. The queue must not fill up before it is over.
const LINGER_MS: usize = 20;
/// The names and most of the values of headers are the same from record to record. Compressed, a feed costs the broker
/// half the CPU time, which it spends on bytes and on the headers of uncompressed batches, and the disk a fourth.
const COMPRESSION: &str = "lz4";
/// Other names of settings in librdkafka: a user's setting under either name replaces the default.
const ALIASES: [(&str, &str); 2] = [("compression.type", "compression.codec"), ("linger.ms", "queue.buffering.max.ms")];
/// The pause when librdkafka's queue is full.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(1);
/// The least time between the end of a record's life in the queue and that of its transaction.
const TRANSACTION_MARGIN: Duration = Duration::from_secs(1);

pub(super) type Producer = ThreadedProducer<Deliveries>;

/// What may differ between two sessions of one publisher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batching {
    /// The smallest limit of the topics that are written to, where it is known.
    pub(super) topic_max_bytes: Option<usize>,
    pub(super) one_by_one: bool,
}

/// Creates a producer that connects to nobody yet. `role` is its name in the log.
pub(super) fn create(options: &Options, batching: Batching, role: &'static str) -> Result<Producer, KafkaError> {
    let config = options.settings.producer(&defaults(options, batching));
    Producer::from_config_and_context(&config, Deliveries::new(role))
}

/// Checks that librdkafka takes the settings of a producer. Connects to nobody.
pub(super) fn check(options: &Options) -> Result<(), Failure> {
    let batching = Batching { topic_max_bytes: None, one_by_one: false };
    // Only a client that is made compares the settings with each other.
    let producer = create(options, batching, "check");
    producer.map(retire).map_err(|error| Failure::new("set up the Kafka producer", &error))
}

fn defaults(options: &Options, batching: Batching) -> Vec<(&'static str, String)> {
    let batch_bytes = batching.topic_max_bytes.map_or(BATCH_MAX_BYTES, |limit| limit.min(BATCH_MAX_BYTES));
    let mut defaults = vec![
        ("acks", "all".to_owned()),
        ("enable.idempotence", "true".to_owned()),
        // Only failures are of interest; that none is outstanding tells of the rest.
        ("delivery.report.only.error", "true".to_owned()),
        ("linger.ms", LINGER_MS.to_string()),
        ("batch.size", batch_bytes.to_string()),
        ("queue.buffering.max.kbytes", QUEUE_MAX_KBYTES.to_string()),
        ("queue.buffering.max.messages", QUEUE_MAX_RECORDS.to_string()),
        ("compression.type", COMPRESSION.to_owned()),
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
    let is_chosen = |alias| options.settings.get(alias).is_some();
    defaults.retain(|(name, _)| !ALIASES.iter().any(|(known, alias)| known == name && is_chosen(alias)));
    defaults
}

/// Gives a record to librdkafka, and waits while its queue is full.
pub(super) async fn enqueue(
    producer: &Producer,
    record: OutgoingRecord<'_>,
    deadline: Deadline,
) -> Result<(), Failure> {
    let mut record = record;
    loop {
        let Err((code, refused)) = produce(producer.client(), record) else {
            return Ok(());
        };
        let is_full = code == RDKafkaErrorCode::QueueFull;
        if !is_full || deadline.has_passed() || producer.context().has_failed() {
            let fatal = producer.client().fatal_error();
            let failure = match fatal {
                Some((code, words)) => Failure::of("send a record", code, words),
                None => Failure::of("send a record", code, code),
            };
            return Err(failure.explained_by(producer.context().log()));
        }
        record = refused;
        tokio::time::sleep(QUEUE_FULL_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::identity::FeedName;

    #[test]
    fn what_is_chosen_under_another_name_has_no_default() {
        let feed = FeedName::new("orders").expect("a name");
        let batching = Batching { topic_max_bytes: None, one_by_one: false };
        let compression = |options: &Options| {
            let defaults = defaults(options, batching);
            defaults.into_iter().find_map(|(name, value)| (name == "compression.type").then_some(value))
        };
        let mut options = Options::new("localhost:9092", &feed);
        assert_eq!(compression(&options).as_deref(), Some(COMPRESSION));
        options.settings.set("compression.codec", "none");
        assert_eq!(compression(&options), None);
    }
}
