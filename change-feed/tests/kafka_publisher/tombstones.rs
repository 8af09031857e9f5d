//! Rows that are gone, in a topic that is compacted.

use change_feed::KafkaPublisher;
use change_feed::consumer::RecordProblem;
use change_feed::kafka::{KafkaReader, ReaderError};

use crate::kafka_publisher::cluster::{Place, brokers, read_committed};
use crate::kafka_publisher::parts::Run;

#[tokio::test]
async fn a_deleted_row_has_a_null_value_and_a_withheld_one_an_empty_value() {
    let place = Place::unused();
    for publisher in [place.builder(), place.builder().idempotent()] {
        let publisher: KafkaPublisher = publisher.create_topics(1).build().expect("valid settings");
        let run = Run::new(&place, &place.resume_compacting(&publisher).await);
        let rows = [
            run.row("a", 1, Some("milk")),
            run.row("b", 2, Some("a whole cow")).withheld("too large"),
            run.row("a", 3, None),
            run.truncation(4),
        ];
        let before = read_committed(&place.topic).len();
        run.complete(&publisher, &rows, 4).await.expect("a compacted topic takes them");
        let records = read_committed(&place.topic).split_off(before);
        let seen: Vec<_> = records.iter().map(|record| (record.key.as_str(), record.payload.as_deref())).collect();
        assert_eq!(seen, [("a", Some(r#"{"id":"a","note":"milk"}"#)), ("b", Some("")), ("a", None), ("", None)]);
        for (record, envelope) in records.iter().zip(&rows) {
            let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            assert_eq!(headers, envelope.headers());
        }
    }
}

#[tokio::test]
async fn a_reader_of_events_tells_a_tombstone_from_what_is_empty() {
    let place = Place::with_topic(1).await;
    let publisher = place.transactional();
    let run = Run::new(&place, &place.resume(&publisher).await);
    let envelopes = [run.envelope("a", 1, "{}").withheld("too large"), run.row("a", 2, None)];
    run.complete(&publisher, &envelopes, 2).await.expect("the cluster is there");
    let mut reader = KafkaReader::builder(&brokers(), place.topic.clone()).open().await.expect("a reader");
    let stub = reader.take_next().await.expect("a stub is an event");
    assert_eq!((stub.event.payload().len(), stub.event.withheld_reason()), (0, Some("too large")));
    let error = reader.take_next().await.expect_err("a tombstone is no event");
    assert!(matches!(&error, ReaderError::Record(error) if error.problem == RecordProblem::Tombstone), "{error:?}");
}
