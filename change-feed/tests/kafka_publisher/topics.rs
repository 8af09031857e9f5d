//! Topics that are missing, made, repartitioned or replaced.

use std::sync::Arc;
use std::time::Duration;

use change_feed::kafka::KafkaPublisherBuilder;
use change_feed::{FeedName, KafkaPublisher, Mismatch, PublishError, SourceIdentity};

use crate::kafka_publisher::cluster::{
    Place, add_partitions, brokers, create_topic, delete_topic, partitions, position_of, topic_setting,
};
use crate::kafka_publisher::parts::{Run, position};
use test_support::proxy::{Accident, Proxy};

#[tokio::test]
async fn a_missing_topic_stops_the_feed_and_says_what_to_do() {
    let place = Place::unused();
    let error = place.try_resume(&place.transactional()).await.expect_err("there is none");
    assert!(matches!(error, PublishError::Fatal { .. }), "{error:?}");
    assert!(error.to_string().contains(&*place.topic) && error.to_string().contains("create it"), "{error}");
}

#[tokio::test]
async fn a_missing_topic_is_made_for_ever_where_the_publisher_is_told_to() {
    let place = Place::unused();
    let publisher = place.builder().create_topics(12).build().expect("valid settings");
    let resumed = place.resume(&publisher).await;
    let topic = &resumed.identity.topics[&*place.topic];
    assert_eq!(topic.partitions, 12);
    assert!(topic.id.is_some(), "{topic:?}");
    assert_eq!(topic_setting(&place.topic, "retention.ms").await, "-1");
    assert_eq!(topic_setting(&place.topic, "cleanup.policy").await, "delete");
    assert_eq!(topic_setting(&place.positions(), "cleanup.policy").await, "compact");
    let run = Run::new(&place, &resumed);
    run.complete(&publisher, &[run.envelope("a", 1, "{}")], 1).await.expect("the topic is there");
    assert_eq!(place.resume(&publisher).await.identity, resumed.identity);
}

#[tokio::test]
async fn a_missing_topic_of_rows_is_made_compacted() {
    let place = Place::unused();
    let publisher = place.builder().create_topics(3).build().expect("valid settings");
    let resumed = place.resume_compacting(&publisher).await;
    assert_eq!(resumed.identity.topics[&*place.topic].partitions, 3);
    assert_eq!(topic_setting(&place.topic, "cleanup.policy").await, "compact");
}

#[tokio::test]
async fn a_topic_that_is_repartitioned_stops_a_running_feed() {
    let place = Place::with_topic(2).await;
    let builder = place.builder().metadata_check_interval(Duration::ZERO);
    let publisher = builder.build().expect("valid settings");
    let before = place.resume(&publisher).await;
    let run = Run::new(&place, &before);
    run.complete(&publisher, &[run.envelope("a", 1, "{}")], 1).await.expect("the cluster is there");
    add_partitions(&place.topic, 3).await;
    let error = run.complete(&publisher, &[run.envelope("a", 2, "{}")], 2).await.expect_err("3 partitions");
    let PublishError::Closed(mismatch) = error else { panic!("{error:?}") };
    let topic = place.topic.to_string();
    assert_eq!(mismatch, Mismatch::Repartitioned { topic, stored: 2, found: 3 });
    // A start finds it by the identity.
    assert_eq!(place.resume(&publisher).await.identity.topics[&*place.topic].partitions, 3);
}

#[tokio::test]
async fn a_topic_that_is_replaced_stops_a_running_feed_and_has_another_identity() {
    let place = Place::with_topic(1).await;
    let builder = place.builder().metadata_check_interval(Duration::ZERO);
    let publisher = builder.build().expect("valid settings");
    let before = place.resume(&publisher).await;
    let run = Run::new(&place, &before);
    run.complete(&publisher, &[run.envelope("a", 1, "{}")], 1).await.expect("the cluster is there");
    delete_topic(&place.topic).await;
    create_topic(&place.topic, 1, &[]).await;
    let error = run.complete(&publisher, &[run.envelope("a", 2, "{}")], 2).await.expect_err("another topic");
    assert!(matches!(error, PublishError::Closed(Mismatch::TopicRecreated { .. })), "{error:?}");
    let after = place.resume(&publisher).await;
    assert_ne!(after.identity.topics[&*place.topic].id, before.identity.topics[&*place.topic].id);
}

#[tokio::test]
async fn a_published_topic_that_is_gone_is_not_made_again() {
    let place = Place::unused();
    let publisher = place.builder().create_topics(1).build().expect("valid settings");
    let run = Run::new(&place, &place.resume(&publisher).await);
    run.complete(&publisher, &[run.envelope("a", 1, "{}")], 1).await.expect("the cluster is there");
    delete_topic(&place.topic).await;
    let error = place.try_resume(&publisher).await.expect_err("its records are gone");
    assert!(matches!(error, PublishError::Closed(Mismatch::TopicRecreated { .. })), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_a_broker_does_not_know_yet_is_not_gone() {
    let place = Place::with_topic(1).await;
    let proxy = Proxy::start(&brokers()).await;
    let interval = Duration::ZERO;
    let builder = KafkaPublisher::builder(proxy.address(), &place.feed).metadata_check_interval(interval);
    let publisher = builder.build().expect("valid settings");
    let run = Run::new(&place, &place.resume(&publisher).await);
    run.complete(&publisher, &[run.envelope("a", 1, "{}")], 1).await.expect("the cluster is there");

    proxy.prepare(Accident::TopicForgotten(".events"));
    let error = run.complete(&publisher, &[run.envelope("a", 2, "{}")], 2).await.expect_err("it looks");
    assert!(matches!(error, PublishError::Transient(_)), "{error:?}");
    proxy.prepare_times(Accident::TopicForgotten(".events"), 4);
    assert_eq!(position_of(&place.resume(&publisher).await), position(1));
    assert_eq!(proxy.accidents(), 5);
    run.complete(&publisher, &[run.envelope("a", 2, "{}")], 2).await.expect("it is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_database_fences_nobody_even_if_the_broker_does_not_know_the_positions_yet() {
    let place = Place::with_topic(1).await;
    let original = place.transactional();
    let run = Run::new(&place, &place.resume(&original).await);
    run.complete(&original, &[run.envelope("a", 1, "{}")], 1).await.expect("the cluster is there");

    let proxy = Proxy::start(&brokers()).await;
    let publisher = KafkaPublisher::transactional(proxy.address(), &place.feed).expect("valid settings");
    // A new client asks more than once, and not only when it is told to.
    proxy.prepare_times(Accident::TopicForgotten(".positions"), 4);
    let copy = SourceIdentity::new("test", "a copy", "public.order_events");
    let topics = [place.topic.clone()];
    let error = place.try_resume_from(&publisher, &copy, &topics).await.expect_err("another database");
    assert!(matches!(error, PublishError::Closed(Mismatch::Differs { what: "database", .. })), "{error:?}");
    assert_eq!(proxy.accidents(), 4);
    run.complete(&original, &[run.envelope("a", 2, "{}")], 2).await.expect("nobody fenced it");
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_a_passing_error_with_words() {
    let feed = FeedName::new("nowhere").expect("a valid name");
    for builder in [KafkaPublisher::builder("127.0.0.1:1", &feed), KafkaPublisher::builder("no.such.host:9092", &feed)]
    {
        let publisher = builder.time_limit(Duration::from_secs(2)).build().expect("valid settings");
        let error = Place { feed: feed.clone(), topic: "orders.events".into() }
            .try_resume(&publisher)
            .await
            .expect_err("nobody listens");
        let PublishError::Transient(source) = error else { panic!("{error:?}") };
        let words = source.to_string();
        assert!(words.contains("can't connect to Kafka at ") && words.contains("last reported: "), "{words}");
    }
}

/// A publisher that can't be started, and why.
async fn start_refused(place: &Place, builder: KafkaPublisherBuilder, topics: &[Arc<str>]) -> String {
    let publisher = builder.build().expect("valid settings");
    let error = place.try_resume_from(&publisher, &place.source(), topics).await.expect_err("it can't be started");
    assert!(matches!(error, PublishError::Fatal { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_start_that_is_refused_has_made_nothing() {
    let place = Place::unused();
    let topics = |second: &str| [place.topic.clone(), second.into()];
    let good = format!("{}.more", place.topic);
    let makes = || place.builder().create_topics(1);
    let cases = [
        (makes().replication_factor(99), topics(&good), "replication factor"),
        (makes(), topics("no topic"), "ASCII letters"),
        (makes(), topics(&"x".repeat(250)), "249"),
        // Nothing may be made at all, and the second one is missing.
        (place.builder(), topics(&good), "does not exist"),
    ];
    for (builder, topics, reason) in cases {
        let words = start_refused(&place, builder, &topics).await;
        assert!(words.contains(reason), "{reason}: {words}");
        for name in [&*place.topic, &good, &place.positions()] {
            assert_eq!(partitions(name), 0, "{name} was made: {words}");
        }
    }
}
