//! A relay's publisher, driven by hand.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use change_feed::feed::{BeforeImage, Cell, Column, Row, RowChange, Table};
use change_feed::publisher::Resume;
use change_feed::{
    Checkpoint, End, Envelope, Epoch, EventId, EventRecord, FeedIdentity, FeedName, KafkaPublisher, Part, Position,
    PublishError, Publisher, PublisherIdentity, SourceIdentity, TransactionPlace,
};
use chrono::DateTime;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::kafka_jvm::cluster::{PATIENCE, brokers};

/// Tells a process of this program which feed's relay it is.
pub(crate) const RELAY_OF: &str = "KAFKA_JVM_RELAY_OF";
/// No transaction is given up by the cluster while a test runs.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(600);

/// A feed that no other test knows.
pub(crate) fn new_feed() -> FeedName {
    FeedName::new(format!("jvm_{}", Uuid::now_v7().simple())).expect("a valid name")
}

pub(crate) fn topic_of(feed: &FeedName) -> String {
    format!("{feed}.events")
}

/// A relay that has taken the feed over, and shut out the ones before it.
pub(crate) struct Relay {
    feed: FeedName,
    publisher: KafkaPublisher,
    identity: FeedIdentity,
}

impl Relay {
    pub(crate) async fn start(feed: &FeedName) -> Self {
        let builder = KafkaPublisher::builder(&brokers(), feed).transaction_timeout(TRANSACTION_TIMEOUT);
        Self::resumed(feed.clone(), builder.build().expect("valid settings")).await
    }

    /// Gives up what is open, and goes on.
    pub(crate) async fn give_up(self) -> Self {
        Self::resumed(self.feed, self.publisher).await
    }

    async fn resumed(feed: FeedName, publisher: KafkaPublisher) -> Self {
        let source = SourceIdentity::new("test", "one", "public.order_events");
        let nowhere = PublisherIdentity::new("kafka-transactional", "");
        let enrolled = FeedIdentity::new(feed.clone(), Epoch::FIRST, source.clone(), nowhere);
        let enrolled = Checkpoint::new(enrolled, Position::ORIGIN);
        let topics = [Arc::from(topic_of(&feed))];
        let request = Resume::new(&feed, &source, Some(&enrolled), &topics);
        let start = Instant::now();
        let resumed = loop {
            match publisher.resume(&request).await {
                Ok(resumed) => break resumed,
                Err(PublishError::Transient(cause)) => assert!(start.elapsed() < PATIENCE, "never: {cause}"),
                Err(error) => panic!("{error:?}"),
            }
        };
        let identity = FeedIdentity::new(feed.clone(), Epoch::FIRST, source, resumed.identity);
        Self { feed, publisher, identity }
    }

    /// Publishes the envelopes and completes them at this position.
    pub(crate) async fn complete(&self, envelopes: &[Envelope], position: u64) {
        let end = End::Complete(Position::new('t', position, 0));
        self.publisher.publish(&Part::new(&self.identity, envelopes, &end)).await.expect("the cluster is there");
    }

    /// Publishes the envelopes and leaves their transaction open.
    pub(crate) async fn begin(&self, envelopes: &[Envelope]) {
        self.publisher.publish(&Part::new(&self.identity, envelopes, &End::Continues)).await.expect("it is there");
    }

    /// The event that closed this version of this key.
    pub(crate) fn event(&self, key: &str, version: u64, payload: &str) -> Envelope {
        let event = EventRecord::new(
            "public.order_events".into(),
            EventId::new(Uuid::now_v7()),
            key.into(),
            version,
            "order.changed.v1".into(),
            Bytes::copy_from_slice(payload.as_bytes()),
            DateTime::from_timestamp(1_700_000_000, 123_456_000).expect("in range"),
        );
        let event =
            if version.is_multiple_of(2) { event.with_traceparent("00-0af7651916cd43dd-b7ad6b71-01") } else { event };
        let position = Position::new('t', version, 0);
        Envelope::cloud_event(topic_of(&self.feed).into(), "/tests".into(), event, position, &self.identity)
            .in_transaction(Some(TransactionPlace::new(7, 0)))
    }

    /// The row of this key is gone.
    pub(crate) fn tombstone(&self, key: &str) -> Envelope {
        let table = Arc::new(Table::new("public", "notes", [Column::key("id", 25)]));
        let row = Row::from_cells([Cell::Text(key)]).expect("a small row");
        let deleted = RowChange::delete(table, BeforeImage::Key(row), DateTime::UNIX_EPOCH);
        Envelope::flat_row(topic_of(&self.feed).into(), deleted, Position::new('t', 1, 0), &self.identity)
    }
}

/// A relay in a process of its own: this program again, told to run this test, which is to call [`leave_open`].
pub(crate) fn start_process(test: &str, feed: &FeedName) -> Child {
    let mut program = Command::new(std::env::current_exe().expect("this program"));
    program.args(["--exact", test, "--nocapture"]).env(RELAY_OF, feed.as_str());
    program.stdout(Stdio::null()).kill_on_drop(true).spawn().expect("this program starts")
}

/// What that process does: it leaves a transaction open, and goes on until it is killed.
pub(crate) async fn leave_open(feed: &str, count: u64, words: &str) {
    let feed = FeedName::new(feed).expect("the name of a feed");
    let relay = Relay::start(&feed).await;
    let payload = format!("{{\"said\":\"{words}\"}}");
    let events: Vec<_> = (0..count).map(|n| relay.event(&format!("open-{n}"), 1, &payload)).collect();
    relay.begin(&events).await;
    std::future::pending::<()>().await;
}
