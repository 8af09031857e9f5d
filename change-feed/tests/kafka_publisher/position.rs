//! The position that the transactional publisher keeps.

use std::time::{Duration, Instant};

use change_feed::PublishError;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::kafka_publisher::cluster::{PATIENCE, Place, brokers, create_topic, position_of, read_committed};
use crate::kafka_publisher::parts::{Run, position};

#[tokio::test]
async fn a_new_publisher_finds_the_position_of_the_last_one() {
    let place = Place::with_topic(1).await;
    let first = place.transactional();
    let resumed = place.resume(&first).await;
    assert_eq!(position_of(&resumed), None);
    let run = Run::new(&place, &resumed);
    run.complete(&first, &[run.envelope("a", 1, "{}")], 1).await.expect("the cluster is there");
    run.complete(&first, &[], 9).await.expect("a position without records");
    drop(first);

    let resumed = place.resume(&place.transactional()).await;
    assert_eq!(position_of(&resumed), position(9));
}

#[tokio::test]
async fn a_claim_does_not_make_a_position_of_none() {
    let place = Place::with_topic(1).await;
    for _ in 0..3 {
        assert_eq!(position_of(&place.resume(&place.transactional()).await), None);
    }
}

#[tokio::test]
async fn the_position_survives_commits_aborts_and_takeovers_in_turn() {
    let place = Place::with_topic(2).await;
    let mut publisher = place.transactional();
    let mut run = Run::new(&place, &place.resume(&publisher).await);
    for round in 1..=45u64 {
        run.complete(&publisher, &[run.envelope("a", round, "{}")], round).await.expect("the cluster is there");
        match round % 9 {
            // Another relay takes over while a transaction is open.
            0 => {
                run.begin(&publisher, &[run.envelope("a", round + 1, "lost")]).await.expect("the cluster is there");
                let next = place.transactional();
                let resumed = place.resume(&next).await;
                assert_eq!(position_of(&resumed), position(round));
                (publisher, run) = (next, Run::new(&place, &resumed));
            }
            // The same relay gives up what is open.
            4 => {
                run.begin(&publisher, &[run.envelope("a", round + 1, "lost")]).await.expect("the cluster is there");
                assert_eq!(position_of(&place.resume(&publisher).await), position(round));
            }
            _ => {}
        }
    }
    let versions: Vec<_> = read_committed(&place.topic)
        .iter()
        .map(|record| record.header("feed_version").expect("on each record").parse::<u64>().expect("a number"))
        .collect();
    assert_eq!(versions, (1..=45).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_position_is_found_behind_many_aborted_records_and_those_of_others() {
    let place = Place::with_topic(1).await;
    let publisher = place.transactional();
    let run = Run::new(&place, &place.resume(&publisher).await);
    run.complete(&publisher, &[], 5).await.expect("the cluster is there");

    // More offsets than the first look and the second one take in.
    let stranger = stranger(&place);
    for round in 0..40 {
        stranger.begin_transaction().expect("ready");
        for _ in 0..10 {
            let key = if round % 2 == 0 { place.feed.as_str() } else { "another" };
            send(&stranger, &place, key);
        }
        // To abort what the coordinator has not heard of is an error.
        stranger.flush(PATIENCE).expect("the cluster is there");
        match round % 2 {
            0 => stranger.abort_transaction(PATIENCE).expect("the cluster is there"),
            _ => stranger.commit_transaction(PATIENCE).expect("the cluster is there"),
        }
    }
    assert_eq!(position_of(&place.resume(&place.transactional()).await), position(5));
}

#[tokio::test]
async fn a_position_is_not_read_while_it_is_undecided() {
    let place = Place::with_topic(1).await;
    let publisher = place.transactional();
    let run = Run::new(&place, &place.resume(&publisher).await);
    run.complete(&publisher, &[], 5).await.expect("the cluster is there");

    let stranger = stranger(&place);
    stranger.begin_transaction().expect("ready");
    send(&stranger, &place, "another");
    stranger.flush(PATIENCE).expect("the cluster is there");
    let hasty = place.builder().time_limit(Duration::from_secs(4)).build().expect("valid settings");
    let start = Instant::now();
    loop {
        let error = place.try_resume(&hasty).await.expect_err("a transaction is open");
        let PublishError::Transient(source) = error else { panic!("{error:?}") };
        if source.to_string().contains("transaction is open") {
            break;
        }
        // On a busy machine the time is up before the position is looked for.
        assert!(start.elapsed() < PATIENCE, "{source}");
    }

    stranger.abort_transaction(PATIENCE).expect("the cluster is there");
    assert_eq!(position_of(&place.resume(&hasty).await), position(5));
}

#[tokio::test]
async fn a_record_that_is_no_position_stops_the_feed_with_its_place() {
    let place = Place::with_topic(1).await;
    create_topic(&place.positions(), 1, &[("cleanup.policy", "compact")]).await;
    let stranger = stranger(&place);
    stranger.begin_transaction().expect("ready");
    send(&stranger, &place, place.feed.as_str());
    stranger.commit_transaction(PATIENCE).expect("the cluster is there");
    let error = place.try_resume(&place.transactional()).await.expect_err("no position");
    assert!(matches!(error, PublishError::Fatal { .. }), "{error:?}");
    assert!(error.to_string().contains("offset 0") && error.to_string().contains(&place.positions()), "{error}");
    assert!(!error.to_string().contains("something else"), "{error}");
}

#[tokio::test]
async fn a_position_topic_that_would_lose_the_position_is_refused() {
    let place = Place::with_topic(1).await;
    create_topic(&place.positions(), 1, &[("cleanup.policy", "delete")]).await;
    let error = place.try_resume(&place.transactional()).await.expect_err("it would be deleted");
    assert!(matches!(error, PublishError::Fatal { .. }), "{error:?}");
    assert!(error.to_string().contains("set it to compact"), "{error}");

    let place = Place::with_topic(1).await;
    create_topic(&place.positions(), 2, &[("cleanup.policy", "compact")]).await;
    let error = place.try_resume(&place.transactional()).await.expect_err("two partitions");
    assert!(matches!(error, PublishError::Closed(_)), "{error:?}");
}

#[tokio::test]
async fn a_dropped_publish_leaves_nothing_half_done() {
    let place = Place::with_topic(4).await;
    // Whatever is left open must be ended by the next start, long before the cluster would give it up.
    let builder = place.builder().transaction_timeout(Duration::from_secs(300));
    let publisher = builder.build().expect("valid settings");
    let mut run = Run::new(&place, &place.resume(&publisher).await);
    let mut next = 1;
    for attempt in 0..12u64 {
        let envelopes: Vec<_> = (next..next + 300).map(|n| run.envelope(&format!("k{}", n % 7), n, "{}")).collect();
        let published = run.complete(&publisher, &envelopes, next + 299);
        // Sometimes before the commit is asked for, sometimes while it is under way.
        let _ = tokio::time::timeout(Duration::from_millis(attempt), published).await;
        let resumed = place.resume(&publisher).await;
        let kept = position_of(&resumed);
        if kept == position(next + 299) {
            next += 300;
        } else {
            assert_eq!(kept, if next == 1 { None } else { position(next - 1) });
        }
        run = Run::new(&place, &resumed);
    }
    let envelopes: Vec<_> = (next..next + 300).map(|n| run.envelope(&format!("k{}", n % 7), n, "{}")).collect();
    run.complete(&publisher, &envelopes, next + 299).await.expect("the cluster is there");
    let mut versions: Vec<u64> = read_committed(&place.topic)
        .iter()
        .map(|record| record.header("feed_version").expect("on each record").parse().expect("a number"))
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..next + 300).collect::<Vec<_>>());
}

/// A transactional producer that has nothing to do with the feed.
fn stranger(place: &Place) -> ThreadedProducer<DefaultProducerContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers()).set("transactional.id", format!("stranger.{}", place.feed));
    let stranger: ThreadedProducer<DefaultProducerContext> = config.create().expect("valid settings");
    stranger.init_transactions(PATIENCE).expect("the cluster is there");
    stranger
}

fn send(stranger: &ThreadedProducer<DefaultProducerContext>, place: &Place, key: &str) {
    let topic = place.positions();
    let record = BaseRecord::to(&topic).partition(0).key(key).payload("something else");
    stranger.send(record).map_err(|(error, _)| error).expect("the queue has room");
}
