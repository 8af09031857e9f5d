//! Commits whose outcome nobody was told, and relays that freeze.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use change_feed::{FeedName, KafkaPublisher, PublishError};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::kafka_publisher::cluster::{PATIENCE, Place, brokers, position_of, read_committed};
use crate::kafka_publisher::parts::{Run, position};
use test_support::proxy::{Accident, Proxy};

/// A publisher that reaches the cluster through the proxy only.
fn publisher(proxy: &Proxy, place: &Place) -> KafkaPublisher {
    let builder = KafkaPublisher::builder(proxy.address(), &place.feed);
    builder.build().expect("valid settings")
}

/// Resumes until the cluster can be reached again.
pub(crate) async fn resume_with_patience(place: &Place, publisher: &KafkaPublisher) -> Option<String> {
    position_of(&place.resume(publisher).await)
}

fn versions(place: &Place) -> Vec<u64> {
    let records = read_committed(&place.topic);
    let version = |record: &crate::kafka_publisher::cluster::Record| record.header("feed_version")?.parse().ok();
    records.iter().map(|record| version(record).expect("on each record")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_found_out_and_published_once() {
    let place = Place::with_topic(1).await;
    let proxy = Proxy::start(&brokers()).await;
    let publisher = publisher(&proxy, &place);
    let run = Run::new(&place, &place.resume(&publisher).await);
    run.complete(&publisher, &[run.envelope("a", 1, "{}")], 1).await.expect("nothing has happened yet");

    proxy.prepare(Accident::AnswerLost);
    let error = run.complete(&publisher, &[run.envelope("a", 2, "{}")], 2).await.expect_err("nobody was told");
    assert_eq!(proxy.accidents(), 1);
    assert!(matches!(error, PublishError::Transient(_)), "{error:?}");
    assert_eq!(resume_with_patience(&place, &publisher).await, position(2));
    run.complete(&publisher, &[run.envelope("a", 3, "{}")], 3).await.expect("a new producer");
    assert_eq!(versions(&place), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_arrives_late_ends_no_later_transaction() {
    let place = Place::with_topic(1).await;
    let proxy = Proxy::start(&brokers()).await;
    let publisher = publisher(&proxy, &place);
    let run = Run::new(&place, &place.resume(&publisher).await);
    proxy.prepare(Accident::Delayed);
    let error = run.complete(&publisher, &[run.envelope("a", 1, "{}")], 1).await.expect_err("asked for twice");
    assert_eq!(proxy.accidents(), 1);
    assert!(matches!(error, PublishError::Transient(_)), "{error:?}");
    // librdkafka has repeated the request on a new connection.
    assert_eq!(resume_with_patience(&place, &publisher).await, position(1));

    run.begin(&publisher, &[run.envelope("a", 2, "\"given up\"")]).await.expect("a new producer");
    wait_for_uncommitted(&place, 3).await;
    proxy.deliver_late().await;
    // The open transaction is given up, and nothing of it may have become visible.
    assert_eq!(resume_with_patience(&place, &publisher).await, position(1));
    assert_eq!(versions(&place), [1]);
    run.complete(&publisher, &[run.envelope("a", 2, "{}")], 2).await.expect("a new producer");
    assert_eq!(versions(&place), [1, 2]);
}

/// The same accident without our rule, to show that it is one: a producer that goes on after the commit has said OK.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_late_commit_makes_an_aborted_record_visible_if_the_producer_is_kept() {
    let place = Place::with_topic(1).await;
    let proxy = Proxy::start(&brokers()).await;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", proxy.address()).set("transactional.id", format!("kept.{}", place.feed));
    let kept: ThreadedProducer<DefaultProducerContext> = config.create().expect("valid settings");
    let topic = place.topic.clone();
    let send = |key: &str| kept.send(BaseRecord::<_, str>::to(&topic).key(key)).map_err(|(error, _)| error);

    let calls = tokio::task::block_in_place(|| {
        kept.init_transactions(PATIENCE)?;
        kept.begin_transaction()?;
        send("committed")?;
        proxy.prepare(Accident::Delayed);
        kept.commit_transaction(PATIENCE)?;
        kept.begin_transaction()?;
        send("aborted")?;
        kept.flush(PATIENCE)
    });
    calls.expect("the commit says that all is well");
    assert_eq!(proxy.accidents(), 1);
    proxy.deliver_late().await;
    let aborted = tokio::task::block_in_place(|| kept.abort_transaction(PATIENCE));
    let keys: Vec<_> = read_committed(&place.topic).into_iter().map(|record| record.key).collect();
    assert_eq!(keys, ["committed", "aborted"], "the abort said {aborted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrives_is_a_passing_error_and_is_published_once() {
    let place = Place::with_topic(1).await;
    let proxy = Proxy::start(&brokers()).await;
    let builder = KafkaPublisher::builder(proxy.address(), &place.feed).time_limit(Duration::from_secs(4));
    let publisher = builder.build().expect("valid settings");
    let run = Run::new(&place, &place.resume(&publisher).await);
    run.complete(&publisher, &[run.envelope("a", 1, "{}")], 1).await.expect("nothing has happened yet");

    proxy.prepare(Accident::Partitioned);
    let error = run.complete(&publisher, &[run.envelope("a", 2, "{}")], 2).await.expect_err("it never arrived");
    assert!(matches!(error, PublishError::Transient(_)), "{error:?}");
    let error = place.try_resume(&publisher).await.expect_err("nobody can be reached");
    assert!(matches!(error, PublishError::Transient(_)), "{error:?}");
    proxy.heal();
    assert_eq!(resume_with_patience(&place, &publisher).await, position(1));
    run.complete(&publisher, &[run.envelope("a", 2, "{}")], 2).await.expect("it is back");
    assert_eq!(versions(&place), [1, 2]);
}

async fn wait_for_uncommitted(place: &Place, at_least: i64) {
    let start = Instant::now();
    while crate::kafka_publisher::cluster::high_watermark(&place.topic, 0) < at_least {
        assert!(start.elapsed() < PATIENCE, "the record never arrived");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The name of the feed that the relay's process publishes, where it is one.
const FEED: &str = "KAFKA_PUBLISHER_TEST_FEED";

/// Also the other process of the next test: there it publishes until it is fenced.
#[tokio::test]
async fn a_relay_publishes_part_after_part() {
    let in_process = std::env::var(FEED).ok();
    let place = match &in_process {
        Some(feed) => Place::of(FeedName::new(feed.as_str()).expect("the name of a feed")),
        None => Place::with_topic(1).await,
    };
    let publisher = place.transactional();
    let run = Run::new(&place, &place.resume(&publisher).await);
    let rounds = if in_process.is_some() { u64::MAX } else { 3 };
    for round in 1..=rounds {
        match run.complete(&publisher, &[run.envelope("a", round, "{}")], round).await {
            Ok(()) => tell(&format!("published {round}")),
            Err(PublishError::Fenced) => return tell("fenced"),
            Err(error) => return tell(&format!("{error:?}")),
        }
    }
    assert_eq!(versions(&place), [1, 2, 3]);
}

#[expect(clippy::print_stdout, reason = "the other process reads it")]
fn tell(line: &str) {
    println!("{line}");
}

#[tokio::test]
async fn a_relay_that_wakes_from_a_freeze_is_fenced_and_has_doubled_nothing() {
    let place = Place::with_topic(1).await;
    let mut frozen = Relay::start(&place);
    frozen.read_until(|line| line.ends_with("published 20"));
    frozen.signal("STOP");

    let next = place.transactional();
    let resumed = place.resume(&next).await;
    let run = Run::new(&place, &resumed);
    let from = versions(&place).len() as u64;
    assert_eq!(position_of(&resumed), position(from));
    for version in from + 1..=from + 5 {
        run.complete(&next, &[run.envelope("a", version, "{}")], version).await.expect("it has the feed");
    }
    frozen.signal("CONT");
    frozen.read_until(|line| {
        // What was committed before the freeze may be told after it.
        let told = line.rsplit_once("published ").and_then(|(_, round)| round.parse().ok());
        assert!(told.is_some_and(|round: u64| round <= from) || line.ends_with("fenced"), "{line}");
        line.ends_with("fenced")
    });
    assert_eq!(versions(&place), (1..=from + 5).collect::<Vec<_>>());
}

/// A relay in a process of its own.
struct Relay {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Relay {
    fn start(place: &Place) -> Self {
        let itself = std::env::current_exe().expect("the test is a program");
        let mut process = Command::new(itself)
            .args(["--exact", "kafka_publisher::misfortune::a_relay_publishes_part_after_part", "--nocapture"])
            .env(FEED, place.feed.as_str())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the test is a program");
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        Self { process, lines }
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(status.expect("kill is there").success());
    }

    fn read_until(&mut self, mut is_last: impl FnMut(&str) -> bool) {
        for line in self.lines.by_ref() {
            let line = line.expect("text");
            // The harness writes lines of its own.
            if (line.contains("published ") || line.ends_with("fenced") || line.contains("Error")) && is_last(&line) {
                return;
            }
        }
        panic!("the relay ended before");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // A test that failed must not leave it behind; one that has ended is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
