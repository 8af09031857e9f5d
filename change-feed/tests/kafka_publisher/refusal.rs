//! Records that the client or the broker refuses.

use std::time::{Duration, Instant};

use change_feed::publisher::Rejection;
use change_feed::{Envelope, PublishError};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::kafka_publisher::cluster::{PATIENCE, Place, brokers, position_of, read_committed, set_topic};
use crate::kafka_publisher::parts::{Run, position};

#[tokio::test]
async fn a_record_over_the_topics_limit_is_rejected_by_its_index_and_its_part_stays_invisible() {
    let place = Place::with_topic_that_has(1, &[("max.message.bytes", "4000")]).await;
    let publisher = place.transactional();
    let run = Run::new(&place, &place.resume(&publisher).await);
    run.complete(&publisher, &[run.envelope("a", 1, "{}")], 1).await.expect("the cluster is there");
    let mut envelopes = vec![
        run.envelope("a", 2, "{}"),
        run.envelope_of_bytes("a", 3, 3_400),
        run.envelope_of_bytes("a", 4, 4_000),
        run.envelope("a", 5, "{}"),
        run.envelope_of_bytes("a", 6, 5_000),
    ];
    let error = run.complete(&publisher, &envelopes, 6).await.expect_err("two are too large");
    let rejections = rejections(error);
    assert_eq!(rejections.iter().map(|rejection| rejection.index).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(read_committed(&place.topic).len(), 1);

    // A stub takes its place.
    assert_eq!(position_of(&place.resume(&publisher).await), position(1));
    for Rejection { index, reason } in rejections {
        assert!(reason.contains("max.message.bytes"), "{reason}");
        envelopes[index] = envelopes[index].clone().withheld(&reason);
    }
    run.complete(&publisher, &envelopes, 6).await.expect("each is small enough");
    let records = read_committed(&place.topic);
    assert_eq!(records.len(), 6);
    assert_eq!(records[3].payload.as_deref(), Some(""));
    assert!(records[3].header("feed_withheld").is_some_and(|reason| reason.contains("max.message.bytes")));
}

#[tokio::test]
async fn the_publisher_measures_a_record_as_the_broker_does() {
    let place = Place::with_topic_that_has(1, &[("max.message.bytes", "4000")]).await;
    let publisher = place.transactional();
    let run = Run::new(&place, &place.resume(&publisher).await);
    for bytes in 3_300.. {
        let envelope = run.envelope_of_bytes("a", 1, bytes);
        match run.complete(&publisher, std::slice::from_ref(&envelope), 1).await {
            // The broker took it.
            Ok(()) => {}
            Err(error) => {
                let reason = rejections(error).remove(0).reason;
                assert!(reason.contains("has 4001 bytes"), "{reason}");
                // And would not have taken this one.
                assert_eq!(send_past_the_publisher(&envelope).await, Err(RDKafkaErrorCode::MessageSizeTooLarge));
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_record_over_the_clients_limit_is_rejected_by_its_index() {
    let place = Place::with_topic_that_has(1, &[("max.message.bytes", "5000000")]).await;
    let publisher = place.transactional();
    let run = Run::new(&place, &place.resume(&publisher).await);
    let envelopes = [run.envelope("a", 1, "{}"), run.envelope_of_bytes("a", 2, 1_200_000)];
    let error = run.complete(&publisher, &envelopes, 2).await.expect_err("the second is too large");
    assert_eq!(rejections(error)[0].index, 1);
    assert_eq!(read_committed(&place.topic), []);
    place.resume(&publisher).await;
    run.complete(&publisher, &envelopes[..1], 1).await.expect("it is small enough");
}

/// Compressed records can't be judged before they are sent, and the broker refuses a whole batch.
#[tokio::test]
async fn a_record_that_only_the_broker_can_judge_is_found_too() {
    for is_transactional in [true, false] {
        let place = Place::with_topic_that_has(1, &[("max.message.bytes", "4000")]).await;
        let builder = place.builder().set("compression.type", "lz4").set("batch.size", "100000");
        let builder = if is_transactional { builder } else { builder.idempotent() };
        let publisher = builder.build().expect("valid settings");
        let run = Run::new(&place, &place.resume(&publisher).await);
        // What came first of a transaction is in an earlier part.
        let begun = [run.envelope("a", 1, "{}")];
        let mut envelopes: Vec<_> = (2..=9).map(|version| run.envelope("a", version, "{}")).collect();
        envelopes.insert(4, run.envelope_of_bytes("a", 10, 20_000));
        let mut attempts = 0;
        let rejected = loop {
            attempts += 1;
            assert!(attempts < 5, "never found");
            let answer = match run.begin(&publisher, &begun).await {
                Ok(()) => run.complete(&publisher, &envelopes, 9).await,
                error => error,
            };
            match answer {
                Err(error @ PublishError::Rejected(_)) => break rejections(error),
                Err(PublishError::Transient(_)) => drop(place.resume(&publisher).await),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(rejected[0].index, 4);
        place.resume(&publisher).await;
        envelopes[4] = envelopes[4].clone().withheld("too large");
        run.begin(&publisher, &begun).await.expect("the cluster is there");
        run.complete(&publisher, &envelopes, 9).await.expect("each is small enough");
        let mut versions: Vec<String> = read_committed(&place.topic)
            .iter()
            .map(|record| record.header("feed_version").expect("on each record").to_owned())
            .collect();
        if !is_transactional {
            // What preceded the refused record comes again; the order of first occurrences stands.
            let mut seen = std::collections::HashSet::new();
            versions.retain(|version| seen.insert(version.clone()));
        }
        assert_eq!(versions, ["1", "2", "3", "4", "5", "10", "6", "7", "8", "9"]);
    }
}

fn rejections(error: PublishError) -> Vec<Rejection> {
    match error {
        PublishError::Rejected(rejections) => rejections,
        error => panic!("{error:?}"),
    }
}

async fn send_past_the_publisher(envelope: &Envelope) -> Result<(), RDKafkaErrorCode> {
    let mut config = ClientConfig::new();
    let producer: FutureProducer = config.set("bootstrap.servers", brokers()).create().expect("valid settings");
    let mut headers = OwnedHeaders::new();
    for (key, value) in envelope.headers() {
        headers = headers.insert(Header { key, value: Some(&value) });
    }
    let record = FutureRecord::to(envelope.topic()).key(envelope.key()).payload(envelope.data()).headers(headers);
    match producer.send(record, Duration::from_secs(30)).await {
        Ok(_) => Ok(()),
        Err((KafkaError::MessageProduction(code), _)) => Err(code),
        Err((error, _)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_wrong_clock_rejects_no_record_and_passes_once_it_is_right() {
    // Every record comes from the past: to the broker the publisher's clock is late.
    let place = Place::with_topic_that_has(1, &[("message.timestamp.before.max.ms", "0")]).await;
    // Without transactions: their markers have a time too, and a broker that refuses one leaves the transaction open.
    let publisher = place.builder().idempotent().build().expect("valid settings");
    let run = Run::new(&place, &place.resume(&publisher).await);
    let mut version = 1;
    let error = loop {
        // A record that arrives within its millisecond is taken.
        match run.complete(&publisher, &[run.envelope("a", version, "{}")], version).await {
            Ok(()) => version += 1,
            Err(error) => break error,
        }
    };
    let PublishError::Transient(cause) = &error else { panic!("{error:?}") };
    assert!(cause.to_string().contains("clocks"), "{cause}");

    set_topic(&place.topic, "message.timestamp.before.max.ms", "9223372036854775807").await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        place.resume(&publisher).await;
        match run.complete(&publisher, &[run.envelope("a", version, "{}")], version).await {
            Ok(()) => break,
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
    }
    let records = read_committed(&place.topic);
    let versions = records.iter().filter_map(|record| record.header("feed_version")?.parse::<u64>().ok());
    assert!(versions.eq(1..=version), "{records:?}");
}
