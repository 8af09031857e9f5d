//! What a broker says that shuts down, and what its clients make of it.
//!
//! For a moment it still answers, and names the topic but no brokers. librdkafka forgets then whom it could ask, for good.

use std::future::Future;
use std::time::Duration;

use change_feed::KafkaPublisher;
use change_feed::kafka::{KafkaReader, ReaderError};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use crate::kafka_publisher::cluster::{PATIENCE, Place, brokers};
use crate::kafka_publisher::misfortune::resume_with_patience;
use crate::kafka_publisher::parts::{Run, position};
use test_support::proxy::{Accident, Proxy};

/// The accident does not happen to every client that it could happen to: it is a race in librdkafka.
const ROUNDS: u64 = 5;

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("nothing happened in time")
}

/// Waits until the broker has said so to somebody, and lets it come back.
async fn shut_down_and_start(proxy: &Proxy) {
    let before = proxy.accidents();
    proxy.prepare(Accident::BrokersForgotten);
    let happened = async {
        while proxy.accidents() == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time(happened).await;
    proxy.heal();
}

/// The client asks about its topic without being told to, all the time.
async fn curious_reader(proxy: &Proxy, place: &Place) -> KafkaReader {
    let builder = KafkaReader::builder(proxy.address(), place.topic.clone());
    in_time(builder.set("topic.metadata.refresh.interval.ms", "100").open()).await.expect("a reader")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_waits_for_what_comes_gets_it_after_the_broker_has_shut_down_and_started() {
    let place = Place::with_topic(3).await;
    let proxy = Proxy::start(&brokers()).await;
    let publisher = place.transactional();
    let run = Run::new(&place, &place.resume(&publisher).await);
    let mut reader = curious_reader(&proxy, &place).await;
    for round in 1..=ROUNDS {
        let (received, ()) = tokio::join!(in_time(reader.take_next()), async {
            shut_down_and_start(&proxy).await;
            run.complete(&publisher, &[run.envelope("a", round, "{}")], round).await.expect("the cluster is there");
        });
        assert_eq!(received.expect("it goes on by itself").event.version(), round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_marks_the_end_after_the_broker_has_shut_down_and_started() {
    let place = Place::with_topic(3).await;
    let proxy = Proxy::start(&brokers()).await;
    let publisher = place.transactional();
    let run = Run::new(&place, &place.resume(&publisher).await);
    let mut reader = curious_reader(&proxy, &place).await;
    for round in 1..=ROUNDS {
        shut_down_and_start(&proxy).await;
        run.complete(&publisher, &[run.envelope("a", round, "{}")], round).await.expect("the cluster is there");
        in_time(async {
            while let Err(error) = reader.mark_end().await {
                assert!(matches!(error, ReaderError::Unavailable(_)), "{error:?}");
            }
        })
        .await;
        let received = in_time(reader.read_to_end()).await.expect("an event");
        assert_eq!(received.iter().map(|received| received.event.version()).collect::<Vec<_>>(), [round]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_reads_its_position_after_the_broker_has_shut_down_and_started() {
    let place = Place::with_topic(3).await;
    let proxy = Proxy::start(&brokers()).await;
    let builder =
        KafkaPublisher::builder(proxy.address(), &place.feed).set("topic.metadata.refresh.interval.ms", "100");
    let publisher = builder.build().expect("valid settings");
    let run = Run::new(&place, &place.resume(&publisher).await);
    for round in 1..=ROUNDS {
        run.complete(&publisher, &[run.envelope("a", round, "{}")], round).await.expect("the cluster is there");
        shut_down_and_start(&proxy).await;
        // What its producer says, or whether that lives, does not matter: the next one is another.
        assert_eq!(resume_with_patience(&place, &publisher).await, position(round));
    }
}

/// The accident without our rule, to show that it is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_shutdown_kills_a_client_that_is_kept() {
    let place = Place::with_topic(3).await;
    let proxy = Proxy::start(&brokers()).await;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", proxy.address()).set("topic.metadata.refresh.interval.ms", "100");
    let ask = |client: &BaseConsumer| client.fetch_metadata(Some(&place.topic), Duration::from_secs(10));
    for _ in 0..4 * ROUNDS {
        let kept: BaseConsumer = config.clone().set("group.id", "tests").create().expect("valid settings");
        tokio::task::block_in_place(|| ask(&kept)).expect("the cluster is there");
        let mut partitions = rdkafka::TopicPartitionList::new();
        partitions.add_partition(&place.topic, 0);
        kept.assign(&partitions).expect("valid partitions");
        shut_down_and_start(&proxy).await;
        if let Err(error) = tokio::task::block_in_place(|| ask(&kept)) {
            let another: BaseConsumer = config.clone().set("group.id", "tests").create().expect("valid settings");
            tokio::task::block_in_place(|| ask(&another)).expect("the cluster is there");
            assert!(matches!(error, KafkaError::MetadataFetch(_)), "{error:?}");
            return;
        }
    }
    panic!("no client was killed: the rule may have become superfluous");
}
