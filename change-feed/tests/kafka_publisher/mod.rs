//! The publisher to Kafka on a real cluster.
mod cluster;
mod development_broker;
mod misfortune;
mod parts;
mod position;
mod refusal;
mod shutdown;
mod takeover;
mod tombstones;
mod topics;

use change_feed::KafkaPublisher;
use change_feed::publisher::KeptPosition;

use crate::kafka_publisher::cluster::{Place, brokers, read_committed, read_committed_now};
use crate::kafka_publisher::parts::Run;

#[tokio::test]
async fn a_part_arrives_in_order_with_its_headers_where_the_jvm_clients_put_its_keys() {
    let place = Place::with_topic(12).await;
    let publisher = place.transactional();
    let run = Run::new(&place, &place.resume(&publisher).await);
    // With the partition that `kafka-clients` 4.3.1 chooses among 12.
    let keys = [("a", 4), ("order-1", 10), ("0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b", 10)];
    let mut envelopes = Vec::new();
    for version in 1..=20 {
        envelopes.extend(keys.map(|(key, _)| run.envelope(key, version, &format!("{{\"n\":{version}}}"))));
    }
    run.complete(&publisher, &envelopes, 20).await.expect("the cluster is there");

    let records = read_committed(&place.topic);
    assert_eq!(records.len(), envelopes.len());
    for (key, partition) in keys {
        let of_key: Vec<_> = records.iter().filter(|record| record.key == key).collect();
        assert!(of_key.iter().all(|record| record.partition == partition), "{of_key:?}");
        let given = envelopes.iter().filter(|envelope| envelope.key() == key);
        for (record, envelope) in of_key.iter().zip(given) {
            assert_eq!(record.payload.as_deref().map(str::as_bytes), Some(envelope.payload().as_ref()));
            let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            assert_eq!(headers, envelope.headers());
        }
    }
}

#[tokio::test]
async fn the_idempotent_mode_publishes_in_order_and_keeps_no_position() {
    let place = Place::with_topic(3).await;
    let publisher = KafkaPublisher::idempotent(&brokers(), &place.feed).expect("valid settings");
    let resumed = place.resume(&publisher).await;
    assert_eq!(resumed.position, KeptPosition::Never);
    let run = Run::new(&place, &resumed);
    for hundred in 0..5 {
        let envelopes: Vec<_> = (1..=100).map(|n| run.envelope("order-1", hundred * 100 + n, "{}")).collect();
        run.complete(&publisher, &envelopes, hundred).await.expect("the cluster is there");
    }
    let versions: Vec<u64> = read_committed(&place.topic)
        .iter()
        .map(|record| record.header("feed_version").expect("on each record").parse().expect("a number"))
        .collect();
    assert_eq!(versions, (1..=500).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_parts_of_one_database_transaction_become_visible_together() {
    let place = Place::with_topic(1).await;
    let publisher = place.transactional();
    let run = Run::new(&place, &place.resume(&publisher).await);
    run.begin(&publisher, &[run.envelope("a", 1, "{}")]).await.expect("the cluster is there");
    run.begin(&publisher, &[]).await.expect("an empty piece is a piece");
    run.begin(&publisher, &[run.envelope("a", 2, "{}")]).await.expect("the cluster is there");
    assert_eq!(read_committed_now(&place.topic), []);
    run.complete(&publisher, &[run.envelope("a", 3, "{}")], 3).await.expect("the cluster is there");
    assert_eq!(read_committed(&place.topic).len(), 3);
}

#[tokio::test]
async fn publishing_before_resuming_is_an_error_and_not_a_loss() {
    let place = Place::with_topic(1).await;
    let publisher = place.transactional();
    let resumed = place.resume(&publisher).await;
    let run = Run::new(&place, &resumed);
    let unstarted = place.transactional();
    let error = run.complete(&unstarted, &[run.envelope("a", 1, "{}")], 1).await.expect_err("no producer");
    assert!(std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("resume")));
    place.try_resume_from(&publisher, &place.source(), &[]).await.expect("the cluster is there");
    let error = run.complete(&publisher, &[run.envelope("a", 1, "{}")], 1).await.expect_err("an unknown topic");
    assert!(error.to_string().contains(&*place.topic), "{error}");
}
