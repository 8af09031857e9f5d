//! The Kafka reader on a real broker.

mod broker;
mod taking;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use broker::{TIMEOUT, Topic, brokers, envelopes};
use change_feed::Mark;
use change_feed::consumer::{Admission, RecordProblem};
use change_feed::judge::{Delivery, Expected, History, Judge};
use change_feed::kafka::{KafkaReader, ReaderError, Received};
use change_feed::memory::MemoryDatabase;
use futures::StreamExt as _;

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, what).await.expect("nothing happened in time")
}

async fn reader(topic: &Topic) -> KafkaReader {
    in_time(KafkaReader::builder(&brokers(), topic.name.as_str()).open()).await.expect("a reader")
}

async fn read_to_end(topic: &Topic) -> Vec<Received> {
    in_time(reader(topic).await.read_to_end()).await.expect("events")
}

fn versions(received: &[Received], key: &str) -> Vec<u64> {
    let of_key = received.iter().filter(|received| received.event.key() == key);
    of_key.map(|received| received.event.version()).collect()
}

#[tokio::test]
async fn everything_that_was_committed_is_read_and_then_the_reader_is_at_the_end() {
    let (topic, database) = (Topic::create("all", 3).await, MemoryDatabase::new());
    let keys: Vec<String> = (0..500).map(|n| format!("order-{}", n % 17)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let published = envelopes(&database, &keys);
    topic.publish(&published);

    let received = read_to_end(&topic).await;
    let history: History = published
        .iter()
        .map(|envelope| Expected {
            key: envelope.key(),
            version: envelope.version().expect("an event"),
            event_id: envelope.event_id().expect("an event"),
            transaction: Some(1.into()),
        })
        .collect();
    let mut judge = Judge::new(history, Delivery::ExactlyOnce);
    received.iter().for_each(|received| judge.observe(&received.event.observed()));
    let verdict = judge.verdict();
    assert!(verdict.is_clean(), "{verdict}");
    assert!(received.iter().all(|received| received.admission == Admission::New));
    let payloads_are_whole = received.iter().all(|received| received.event.payload().as_ref() == b"{}");
    assert!(payloads_are_whole);
}

#[tokio::test]
async fn an_empty_topic_is_at_its_end_at_once() {
    let topic = Topic::create("empty", 3).await;
    let mut reader = reader(&topic).await;
    assert!(reader.is_at_end());
    assert_eq!(in_time(reader.read_to_end()).await.expect("nothing"), []);
}

#[tokio::test]
async fn an_aborted_transaction_is_not_seen_not_even_at_the_end_of_the_topic() {
    let (topic, database) = (Topic::create("aborted", 1).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a"]));
    topic.publish_open(&envelopes(&MemoryDatabase::new(), &["b", "c"]));
    topic.abort();
    let received = read_to_end(&topic).await;
    assert_eq!(received.len(), 1);

    topic.publish(&envelopes(&database, &["a"]));
    let received = read_to_end(&topic).await;
    assert_eq!(versions(&received, "a"), [1, 2]);
    assert_eq!(received.len(), 2);
}

#[tokio::test]
async fn an_open_transaction_is_seen_when_it_is_committed() {
    let (topic, database) = (Topic::create("open", 1).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a"]));
    topic.publish_open(&envelopes(&database, &["a"]));
    let mut reader = reader(&topic).await;
    assert_eq!(versions(&in_time(reader.read_to_end()).await.expect("events"), "a"), [1]);
    topic.commit();
    let received = in_time(reader.take_next()).await.expect("the committed event");
    assert_eq!((received.event.version(), received.admission), (2, Admission::New));
}

#[tokio::test]
async fn what_comes_after_the_end_was_marked_is_read_once_it_is_marked_again() {
    let (topic, database) = (Topic::create("marked", 2).await, MemoryDatabase::new());
    let mut reader = reader(&topic).await;
    let mut received = Vec::new();
    for round in 1..=5 {
        topic.publish(&envelopes(&database, &["a", "b", "c", "d"]));
        in_time(reader.mark_end()).await.expect("marked");
        received.extend(in_time(reader.read_to_end()).await.expect("events"));
        assert_eq!(received.len(), 4 * round);
    }
    for key in ["a", "b", "c", "d"] {
        assert_eq!(versions(&received, key), [1, 2, 3, 4, 5]);
    }
}

#[tokio::test]
async fn a_missing_and_a_repeated_event_are_told() {
    let (topic, database) = (Topic::create("verdicts", 1).await, MemoryDatabase::new());
    let [first, second, third] = envelopes(&database, &["a", "a", "a"]).try_into().expect("three");
    topic.publish(&[first.clone(), first, third, second]);
    let admissions: Vec<_> = read_to_end(&topic).await.into_iter().map(|received| received.admission).collect();
    let gap = Admission::Gap { expected: 2, got: 3 };
    assert_eq!(admissions, [Admission::New, Admission::Duplicate, gap, Admission::New]);
}

#[tokio::test]
async fn a_reader_goes_on_from_stored_offsets_and_progress() {
    let (topic, database) = (Topic::create("stored", 3).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a", "b", "a", "c"]));
    let mut first = reader(&topic).await;
    in_time(first.read_to_end()).await.expect("events");
    topic.publish(&envelopes(&database, &["a", "b"]));

    let stored: BTreeMap<u32, u64> = first.offsets();
    let builder = KafkaReader::builder(&brokers(), topic.name.as_str());
    let second = builder.clone().from_offsets(stored.clone()).progress(first.progress().clone()).open();
    let received = in_time(in_time(second).await.expect("a reader").read_to_end()).await.expect("events");
    assert_eq!((versions(&received, "a"), versions(&received, "b")), (vec![3], vec![2]));
    assert!(received.iter().all(|received| received.admission == Admission::New));

    let without_progress = in_time(builder.from_offsets(stored).open()).await.expect("a reader");
    let mut without_progress = without_progress;
    let received = in_time(without_progress.read_to_end()).await.expect("events");
    assert!(received.iter().all(|received| received.admission == Admission::New));
}

#[tokio::test]
async fn a_reader_from_the_end_sees_only_what_comes() {
    let (topic, database) = (Topic::create("end", 3).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a", "a"]));
    let opening = KafkaReader::builder(&brokers(), topic.name.as_str()).from_end().open();
    let mut reader = in_time(opening).await.expect("a reader");
    topic.publish(&envelopes(&database, &["a"]));
    let received = in_time(reader.take_next()).await.expect("an event");
    assert_eq!((received.event.version(), received.admission), (3, Admission::New));
}

#[tokio::test]
async fn a_reader_of_what_is_recent_starts_so_many_offsets_before_the_end() {
    let (topic, database) = (Topic::create("recent", 1).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a", "a", "a"]));
    // Offset 3 is the marker of the transaction.
    for (offsets, versions) in [(3, vec![2, 3]), (99, vec![1, 2, 3]), (0, vec![])] {
        let opening = KafkaReader::builder(&brokers(), topic.name.as_str()).from_recent(offsets).open();
        let mut reader = in_time(opening).await.expect("a reader");
        let received = in_time(reader.read_to_end()).await.expect("events");
        assert!(received.iter().all(|received| received.admission == Admission::New));
        assert_eq!(received.iter().map(|received| received.event.version()).collect::<Vec<_>>(), versions);
    }
}

#[tokio::test]
async fn dropping_a_call_loses_nothing() {
    let (topic, database) = (Topic::create("dropped", 3).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a", "b", "c", "a", "b", "c", "a"]));
    let mut reader = reader(&topic).await;
    let mut received = Vec::new();
    in_time(async {
        while received.len() < 7 {
            if let Ok(next) = tokio::time::timeout(Duration::from_micros(200), reader.take_next()).await {
                received.push(next.expect("an event"));
            }
        }
    })
    .await;
    assert!(received.iter().all(|received| received.admission == Admission::New));
    assert_eq!(versions(&received, "a"), [1, 2, 3]);
}

#[tokio::test]
async fn a_record_of_somebody_else_is_an_error_that_the_reader_goes_on_after() {
    let (topic, database) = (Topic::create("foreign", 1).await, MemoryDatabase::new());
    topic.publish_foreign();
    topic.publish(&envelopes(&database, &["a"]));
    let mut stream = Box::pin(reader(&topic).await.into_stream());
    let error = in_time(stream.next()).await.expect("goes on").expect_err("not an event");
    assert!(
        matches!(&error, ReaderError::Record(error) if error.problem == RecordProblem::Missing("ce_specversion")),
        "{error}"
    );
    let received = in_time(stream.next()).await.expect("goes on").expect("an event");
    assert_eq!(received.event.version(), 1);
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_named() {
    let error = in_time(KafkaReader::builder(&brokers(), "test.nowhere").open()).await.expect_err("no topic");
    assert!(matches!(&error, ReaderError::NoTopic(name) if &**name == "test.nowhere"), "{error:?}");
}

#[tokio::test]
async fn a_topic_that_is_deleted_under_a_reader_is_named_by_whatever_call() {
    let topic = Topic::create("deleted", 1).await;
    let builder = KafkaReader::builder(&brokers(), topic.name.as_str());
    let builder =
        builder.set("topic.metadata.refresh.interval.ms", "100").set("topic.metadata.propagation.max.ms", "0");
    let mut follower = in_time(builder.open()).await.expect("a reader");
    let mut marker = reader(&topic).await;
    topic.delete().await;
    let (followed, marked) = tokio::join!(in_time(follower.take_next()), in_time(marker.mark_end()));
    let errors = [followed.map(drop), marked].map(|result| result.expect_err("it is gone"));
    assert!(errors.iter().all(|error| matches!(error, ReaderError::NoTopic(_))), "{errors:?}");
}

#[tokio::test]
async fn a_setting_that_reading_rests_on_and_one_that_is_unknown_are_refused_without_their_values() {
    for name in ["isolation.level", "enable.partition.eof", "sasl.pasword"] {
        let opening = KafkaReader::builder(&brokers(), "any").set(name, "my-secret").open();
        let error = in_time(opening).await.expect_err("refused");
        assert!(matches!(error, ReaderError::Fatal { .. }), "{error:?}");
        let words = format!("{error} {}", error.source().expect("says which"));
        assert!(words.contains(name) && !words.contains("my-secret"), "{words}");
    }
}

#[tokio::test]
async fn settings_of_producers_alone_are_left_out() {
    let topic = Topic::create("shared-settings", 1).await;
    topic.publish(&envelopes(&MemoryDatabase::new(), &["a"]));
    let builder = KafkaReader::builder(&brokers(), topic.name.as_str()).set("linger.ms", "7");
    let mut reader = in_time(builder.open()).await.expect("a reader");
    assert_eq!(in_time(reader.read_to_end()).await.expect("events").len(), 1);
}

#[tokio::test]
async fn an_offset_that_never_was_fails_closed() {
    let (topic, database) = (Topic::create("gone", 1).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a"]));
    let opening = KafkaReader::builder(&brokers(), topic.name.as_str()).from_offsets([(0, 1_000)]).open();
    let mut reader = in_time(opening).await.expect("a reader");
    let error = in_time(reader.take_next()).await.expect_err("nothing is there");
    assert!(matches!(error, ReaderError::Gone { .. }), "{error:?}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_unavailable() {
    let error = in_time(KafkaReader::builder("127.0.0.1:9", "any").open()).await.expect_err("nobody listens");
    assert!(matches!(error, ReaderError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn marks_and_ids_arrive_through_a_real_broker() {
    let (topic, database) = (Topic::create("marks", 1).await, MemoryDatabase::new());
    let [event] = envelopes(&database, &["a"]).try_into().expect("one");
    let published =
        [event.clone().withheld("too large"), event.clone().marked(Mark::Replay), event.clone().marked(Mark::Baseline)];
    topic.publish(&published);
    let received = read_to_end(&topic).await;
    let [stub, replay, again] = received.try_into().expect("three");
    assert_eq!((stub.event.withheld_reason(), stub.admission), (Some("too large"), Admission::New));
    assert_eq!(Some(stub.event.event_id()), event.event_id());
    assert!(stub.event.payload().is_empty());
    assert_eq!((replay.event.is_replay(), replay.admission), (true, Admission::Replay));
    assert_eq!(again.event.mark(), Mark::Baseline);
}
