//! The broker in the process, under the real publisher.

use change_feed::kafka::DevelopmentBroker;
use change_feed::publisher::KeptPosition;

use crate::kafka_publisher::cluster::{Place, read};
use crate::kafka_publisher::parts::Run;

#[tokio::test]
async fn the_idempotent_publisher_works_with_the_development_broker() {
    let place = Place::unused();
    let broker = DevelopmentBroker::start(&[(&place.topic, 12)]).expect("loopback has a free port");
    let publisher = broker.publisher(&place.feed).expect("valid settings");
    let resumed = place.resume(&publisher).await;
    assert_eq!(resumed.position, KeptPosition::Ephemeral);
    assert_eq!(resumed.identity.topics[&*place.topic].partitions, 12);
    let run = Run::new(&place, &resumed);
    for version in 1..=30 {
        run.complete(&publisher, &[run.envelope("order-1", version, "{}")], version).await.expect("it is there");
    }
    let records = read(broker.bootstrap_servers(), &place.topic, "read_committed");
    let versions: Vec<u64> = records
        .iter()
        .map(|record| record.header("feed_version").expect("on each record").parse().expect("a number"))
        .collect();
    assert_eq!(versions, (1..=30).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record.partition == 10), "where a JVM client puts \"order-1\"");
}

#[tokio::test]
async fn topics_can_be_added_and_impossible_ones_are_refused() {
    let place = Place::unused();
    let broker = DevelopmentBroker::start(&[]).expect("loopback has a free port");
    assert!(broker.bootstrap_servers().starts_with("127.0.0.1:"), "{broker:?}");
    broker.create_topic(&place.topic, 5).expect("a new topic");
    let error = broker.create_topic("none", 0).expect_err("no partition");
    assert!(error.to_string().contains("\"none\""), "{error}");
    assert!(DevelopmentBroker::start(&[("too.many", u32::MAX)]).is_err());
    let publisher = broker.publisher(&place.feed).expect("valid settings");
    assert_eq!(place.resume(&publisher).await.identity.topics[&*place.topic].partitions, 5);
    drop(broker);
    place.try_resume(&publisher).await.expect_err("it ended");
}
