//! Two relays of one feed.

use std::time::Duration;

use change_feed::{KafkaPublisher, Mismatch, PublishError, SourceIdentity};

use crate::kafka_publisher::cluster::{
    Place, brokers, is_stable, partitions, position_of, read_committed, wait_until_stable,
};
use crate::kafka_publisher::misfortune::resume_with_patience;
use crate::kafka_publisher::parts::{Run, position};
use test_support::proxy::{Accident, Proxy};

#[tokio::test]
async fn a_second_relay_fences_the_first_and_ends_its_open_transaction() {
    let place = Place::with_topic(1).await;
    let first = place.transactional();
    let run = Run::new(&place, &place.resume(&first).await);
    run.complete(&first, &[run.envelope("a", 1, "{}")], 1).await.expect("the cluster is there");
    run.begin(&first, &[run.envelope("a", 2, "\"of the first\"")]).await.expect("the cluster is there");

    let second = place.transactional();
    assert_eq!(position_of(&place.resume(&second).await), position(1));
    let error = run.complete(&first, &[], 2).await.expect_err("it was replaced");
    assert!(matches!(error, PublishError::Fenced), "{error:?}");
    run.complete(&second, &[run.envelope("a", 2, "\"of the second\"")], 2).await.expect("it has the feed");

    let payloads: Vec<_> = read_committed(&place.topic).into_iter().filter_map(|record| record.payload).collect();
    assert_eq!(payloads, ["{}", "\"of the second\""]);
}

#[tokio::test]
async fn a_relay_that_was_replaced_while_it_was_away_does_not_come_back() {
    let place = Place::with_topic(1).await;
    let first = place.transactional();
    place.resume(&first).await;
    let second = place.transactional();
    let run = Run::new(&place, &place.resume(&second).await);

    // As after a pause between an error and the next attempt.
    let error = place.try_resume(&first).await.expect_err("it was replaced");
    assert!(matches!(error, PublishError::Fenced), "{error:?}");
    run.complete(&second, &[run.envelope("a", 1, "{}")], 1).await.expect("nobody fenced it");
}

#[tokio::test]
async fn a_relay_that_was_replaced_and_is_elected_again_takes_the_feed_back() {
    let place = Place::with_topic(1).await;
    let first = place.transactional();
    place.resume(&first).await;
    let second = place.transactional();
    let run = Run::new(&place, &place.resume(&second).await);
    run.complete(&second, &[run.envelope("a", 1, "{}")], 1).await.expect("it has the feed");

    // The second one is frozen, say, and the first one has stood by.
    let resumed = place.resume_newly_elected(&first).await;
    assert_eq!(position_of(&resumed), position(1));
    run.complete(&first, &[run.envelope("a", 2, "{}")], 2).await.expect("it has the feed again");
    run.complete(&second, &[], 2).await.expect_err("it was replaced");
    assert_eq!(read_committed(&place.topic).len(), 2);
}

#[tokio::test]
async fn a_transaction_that_the_cluster_gave_up_is_no_takeover() {
    let place = Place::with_topic(1).await;
    let builder = place.builder().transaction_timeout(Duration::from_secs(2));
    let publisher = builder.build().expect("valid settings");
    let run = Run::new(&place, &place.resume(&publisher).await);
    run.begin(&publisher, &[run.envelope("a", 1, "\"too slow\"")]).await.expect("the cluster is there");
    // The record must have arrived before it can be given up.
    wait_for_record(&place).await;
    wait_until_stable(&place.topic);

    let error = run.complete(&publisher, &[], 1).await.expect_err("it was aborted");
    assert!(matches!(error, PublishError::Transient(_)), "{error:?}");
    let resumed = place.resume(&publisher).await;
    assert_eq!(position_of(&resumed), None);
    run.complete(&publisher, &[run.envelope("a", 1, "\"in time\"")], 1).await.expect("the feed is still ours");
    let payloads: Vec<_> = read_committed(&place.topic).into_iter().filter_map(|record| record.payload).collect();
    assert_eq!(payloads, ["\"in time\""]);
}

#[tokio::test]
async fn a_copy_of_the_database_does_not_disturb_the_feed_of_its_original() {
    let place = Place::with_topic(1).await;
    let original = place.transactional();
    let run = Run::new(&place, &place.resume(&original).await);
    run.complete(&original, &[run.envelope("a", 1, "{}")], 1).await.expect("the cluster is there");
    run.begin(&original, &[run.envelope("a", 2, "{}")]).await.expect("the cluster is there");

    let copy = SourceIdentity::new("test", "a copy", "public.order_events");
    let publisher = place.builder().create_topics(1).build().expect("valid settings");
    let unmade = [place.topic.clone(), format!("{}.more", place.topic).into()];
    let error = place.try_resume_from(&publisher, &copy, &unmade).await.expect_err("another database");
    assert!(matches!(error, PublishError::Closed(Mismatch::Differs { what: "database", .. })), "{error:?}");
    // Neither was a topic made, nor the original fenced.
    let error = place.try_resume_from(&place.transactional(), &copy, &unmade).await.expect_err("another database");
    assert!(matches!(error, PublishError::Closed(_)), "{error:?}");
    run.complete(&original, &[run.envelope("a", 3, "{}")], 3).await.expect("nobody fenced it");
    assert_eq!(partitions(&unmade[1]), 0);
}

/// A commit is confirmed before its markers are in the partitions, and on a busy cluster long before: what looks open is
/// the original's all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_refused_also_while_the_only_position_of_the_original_looks_undecided() {
    let place = Place::with_topic(1).await;
    let proxy = Proxy::start(&brokers()).await;
    let builder = KafkaPublisher::builder(proxy.address(), &place.feed).time_limit(Duration::from_secs(4));
    let original = builder.transaction_timeout(Duration::from_secs(300)).build().expect("valid settings");
    let run = Run::new(&place, &place.resume(&original).await);
    proxy.prepare(Accident::Partitioned);
    let error = run.complete(&original, &[run.envelope("a", 1, "{}")], 1).await.expect_err("its end never arrived");
    assert!(matches!(error, PublishError::Transient(_)), "{error:?}");
    assert!(!is_stable(&place.positions(), 0));

    let copy = SourceIdentity::new("test", "a copy", "public.order_events");
    let topics = [place.topic.clone()];
    let error = place.try_resume_from(&place.transactional(), &copy, &topics).await.expect_err("another database");
    assert!(matches!(error, PublishError::Closed(Mismatch::Differs { what: "database", .. })), "{error:?}");
    assert!(!is_stable(&place.positions(), 0), "the copy has fenced the original and so aborted its transaction");

    proxy.heal();
    assert_eq!(resume_with_patience(&place, &original).await, None);
    run.complete(&original, &[run.envelope("a", 1, "{}")], 1).await.expect("nobody fenced it");
}

async fn wait_for_record(place: &Place) {
    let brokers = crate::kafka_publisher::cluster::brokers();
    while crate::kafka_publisher::cluster::read(&brokers, &place.topic, "read_uncommitted").is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
