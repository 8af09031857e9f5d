//! The publisher to Kafka beside librdkafka's own producer, on a real cluster: records per second and the time of a
//! part, by parts of 1 to 10,000.
//!
//! ```text
//! scripts/services up && eval "$(scripts/services env)"
//! cargo bench -p benches --bench kafka              # all of it, about two minutes
//! cargo bench -p benches --bench kafka -- 1000      # parts of 1,000 alone
//! ```
//!
//! Every record has a key, the headers of an order's event and 400 bytes of payload. The first row is a plain
//! idempotent producer that sends the same records and waits for nothing between them. Figures of one run on a shared
//! machine differ by tens of per cent: compare rows of the same run.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use change_feed::publisher::Resume;
use change_feed::{
    Checkpoint, End, Envelope, Epoch, EventId, EventRecord, FeedIdentity, FeedName, KafkaPublisher, Part, Position,
    Publisher, PublisherIdentity, SourceIdentity, TransactionPlace,
};
use chrono::DateTime;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const PART_SIZES: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const PAYLOAD_BYTES: usize = 400;
const KEYS: usize = 1_000;
const PARTITIONS: u32 = 12;
/// How long each row is measured.
const MEASURE: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_secs(1);

/// What one row of the table measured.
struct Row {
    records: usize,
    elapsed: Duration,
    parts: Vec<Duration>,
}

fn main() -> ExitCode {
    let Ok(brokers) = std::env::var("KAFKA_BROKERS") else {
        eprintln!("KAFKA_BROKERS is not set: run scripts/services up and eval \"$(scripts/services env)\"");
        return ExitCode::FAILURE;
    };
    let wanted: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let runtime = tokio::runtime::Runtime::new().expect("threads and a timer");
    match runtime.block_on(run(&brokers, &wanted)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}{}", error.source().map(|source| format!(": {source}")).unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

async fn run(brokers: &str, wanted: &[usize]) -> Result<(), Failure> {
    println!("{:<32} {:>10} {:>12} {:>10} {:>10}", "publisher", "part", "records/s", "p50 ms", "p99 ms");
    let topic = topic(brokers, "raw").await?;
    let envelopes = envelopes(&topic, 10_000);
    raw(brokers, &envelopes, WARM_UP)?;
    print("librdkafka, idempotent", None, raw(brokers, &envelopes, MEASURE)?);
    for size in PART_SIZES {
        if !wanted.is_empty() && !wanted.contains(&size) {
            continue;
        }
        for transactional in [false, true] {
            let name = if transactional { "change-feed, transactional" } else { "change-feed, idempotent" };
            print(name, Some(size), published(brokers, size, transactional).await?);
        }
    }
    Ok(())
}

/// Publishes parts of this size, one after the other.
async fn published(brokers: &str, size: usize, transactional: bool) -> Result<Row, Failure> {
    let feed = feed("bench");
    let builder = KafkaPublisher::builder(brokers, &feed).create_topics(PARTITIONS);
    let publisher = if transactional { builder.build()? } else { builder.idempotent().build()? };
    let topic: Arc<str> = format!("{feed}.events").into();
    let identity = resume(&publisher, &feed, &topic).await?;
    let envelopes = envelopes(&topic, size);

    let mut position = 0;
    let mut rounds = async |limit| {
        let mut parts = Vec::new();
        let start = Instant::now();
        while start.elapsed() < limit {
            position += 1;
            let end = End::Complete(Position::new('b', position, 0));
            let part = Instant::now();
            publisher.publish(&Part::new(&identity, &envelopes, &end)).await?;
            parts.push(part.elapsed());
        }
        let row = Row { records: parts.len() * size, elapsed: start.elapsed(), parts };
        Ok::<_, Failure>(row)
    };
    rounds(WARM_UP).await?;
    rounds(MEASURE).await
}

async fn resume(publisher: &KafkaPublisher, feed: &FeedName, topic: &Arc<str>) -> Result<FeedIdentity, Failure> {
    let source = SourceIdentity::new("bench", "one", "order_events");
    let nowhere = PublisherIdentity::new("kafka", "");
    let identity = FeedIdentity::new(feed.clone(), Epoch::FIRST, source.clone(), nowhere);
    let enrolled = Checkpoint::new(identity, Position::ORIGIN);
    let topics = [Arc::clone(topic)];
    let resumed = publisher.resume(&Resume::new(feed, &source, Some(&enrolled), &topics)).await?;
    Ok(FeedIdentity::new(feed.clone(), Epoch::FIRST, source, resumed.identity))
}

/// Sends the envelopes' records over and over, and waits for the last one only.
fn raw(brokers: &str, envelopes: &[Envelope], limit: Duration) -> Result<Row, Failure> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        .set("batch.size", "131072")
        .set("queue.buffering.max.kbytes", "65536")
        .set("socket.nagle.disable", "true");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create()?;
    let (start, mut records) = (Instant::now(), 0);
    while start.elapsed() < limit {
        for envelope in envelopes {
            send(&producer, envelope)?;
        }
        records += envelopes.len();
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(Row { records, elapsed: start.elapsed(), parts: Vec::new() })
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, envelope: &Envelope) -> Result<(), KafkaError> {
    let mut headers = Some(OwnedHeaders::new_with_capacity(17));
    envelope.visit_headers(&mut |key, value| {
        headers = headers.take().map(|headers| headers.insert(Header { key, value: Some(value) }));
    });
    let record = BaseRecord::to(envelope.topic()).key(envelope.key()).payload(envelope.data());
    let mut record = record.headers(headers.unwrap_or_default());
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                record = refused;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => return Err(error),
        }
    }
}

/// A new topic as the publisher makes one.
async fn topic(brokers: &str, purpose: &str) -> Result<Arc<str>, Failure> {
    let feed = feed(purpose);
    let publisher = KafkaPublisher::builder(brokers, &feed).create_topics(PARTITIONS).idempotent().build()?;
    let topic: Arc<str> = format!("{feed}.events").into();
    resume(&publisher, &feed, &topic).await?;
    Ok(topic)
}

fn feed(purpose: &str) -> FeedName {
    FeedName::new(format!("{purpose}_{}", Uuid::now_v7().simple())).expect("letters and digits")
}

fn envelopes(topic: &Arc<str>, count: usize) -> Vec<Envelope> {
    let payload = Bytes::from(format!("\"{}\"", "x".repeat(PAYLOAD_BYTES - 2)));
    let keys: Vec<Arc<str>> = (0..KEYS).map(|_| Uuid::now_v7().to_string().into()).collect();
    let (outbox, source) = (Arc::from("public.order_events"), Arc::from("/change-feed/orders"));
    let event_type: Arc<str> = "order.item_added.v1".into();
    let (here, there) = (SourceIdentity::new("bench", "", ""), PublisherIdentity::new("kafka", ""));
    let feed = FeedIdentity::new(FeedName::new("orders").expect("a valid name"), Epoch::FIRST, here, there);
    let envelope = |index: usize| {
        let event = EventRecord::new(
            Arc::clone(&outbox),
            EventId::new(Uuid::now_v7()),
            Arc::clone(&keys[index % KEYS]),
            (index / KEYS + 1) as u64,
            Arc::clone(&event_type),
            payload.clone(),
            DateTime::from_timestamp(1_795_000_000, 0).expect("in range"),
        );
        let position = Position::new('b', index as u64, 0);
        Envelope::cloud_event(Arc::clone(topic), Arc::clone(&source), event, position, &feed)
            .in_transaction(Some(TransactionPlace::new(7, 0)))
    };
    (0..count).map(envelope).collect()
}

fn print(name: &str, size: Option<usize>, mut row: Row) {
    row.parts.sort_unstable();
    let at = |share: f64| {
        let index = (row.parts.len() as f64 * share) as usize;
        let time = row.parts.get(index.min(row.parts.len().saturating_sub(1)));
        time.map_or_else(|| "-".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1e3))
    };
    let (size, rate) =
        (size.map_or("-".to_owned(), |size| size.to_string()), row.records as f64 / row.elapsed.as_secs_f64());
    println!("{name:<32} {size:>10} {rate:>12.0} {:>10} {:>10}", at(0.5), at(0.99));
}
