//! Parts for a publisher, numbered, and what a file or stream says of them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use change_feed::ndjson::NdjsonPublisher;
use change_feed::publisher::{KeptPosition, Resume, Resumed};
use change_feed::{
    Change, Checkpoint, End, Envelope, Epoch, EventId, EventRecord, FeedIdentity, FeedName, Part, Position,
    PublishError, Publisher, PublisherIdentity, Router, SourceIdentity,
};
use serde_json::Value;
use tokio::time::sleep;
use uuid::Uuid;

/// A feed of numbered events: the event with number n is version n of one key.
pub(crate) struct Feed {
    pub(crate) name: FeedName,
    pub(crate) source: SourceIdentity,
    pub(crate) enrolled: Option<Checkpoint>,
}

impl Feed {
    pub(crate) fn new(name: &str) -> Self {
        let name = FeedName::new(name).expect("a valid name");
        let source = SourceIdentity::new("numbers", "one", "events");
        let identity =
            FeedIdentity::new(name.clone(), Epoch::FIRST, source.clone(), PublisherIdentity::new("ndjson-file", ""));
        Self { name, source, enrolled: Some(Checkpoint::new(identity, Position::ORIGIN)) }
    }

    pub(crate) async fn resume(&self, publisher: &NdjsonPublisher) -> Result<Resumed, PublishError> {
        let topics = [Arc::from("numbers")];
        publisher.resume(&Resume::new(&self.name, &self.source, self.enrolled.as_ref(), &topics)).await
    }

    /// Resumes, and says which number is the last that the publisher keeps.
    pub(crate) async fn last(&self, publisher: &NdjsonPublisher) -> u64 {
        match self.resume_in_turn(publisher).await.expect("resumed").position {
            KeptPosition::At(kept) => kept.position.major(),
            _ => 0,
        }
    }

    /// Why the publisher doesn't resume.
    pub(crate) async fn refused(&self, publisher: &NdjsonPublisher) -> PublishError {
        self.resume_in_turn(publisher).await.expect_err("refused")
    }

    /// Waits for the file as a relay does: a child that another test forks holds every lock of this
    /// process for the moment until it runs its own program.
    async fn resume_in_turn(&self, publisher: &NdjsonPublisher) -> Result<Resumed, PublishError> {
        let began = Instant::now();
        loop {
            match self.resume(publisher).await {
                Err(PublishError::Transient(cause)) if cause.to_string().contains("locking") => {
                    assert!(began.elapsed() < Duration::from_secs(60), "{cause}");
                    sleep(Duration::from_millis(1)).await;
                }
                resumed => return resumed,
            }
        }
    }

    /// Publishes these numbers as one part.
    pub(crate) async fn publish(
        &self,
        publisher: &NdjsonPublisher,
        numbers: std::ops::RangeInclusive<u64>,
        complete: bool,
    ) -> Result<(), PublishError> {
        let publishes = PublisherIdentity::new("ndjson-file", "");
        let identity = FeedIdentity::new(self.name.clone(), Epoch::FIRST, self.source.clone(), publishes);
        let end = if complete { End::Complete(position(*numbers.end())) } else { End::Continues };
        let envelopes: Vec<Envelope> = numbers.map(envelope).collect();
        publisher.publish(&Part::new(&identity, &envelopes, &end)).await
    }
}

fn position(number: u64) -> Position {
    Position::new('n', number, 0)
}

pub(crate) fn envelope(number: u64) -> Envelope {
    let event = EventRecord::new(
        Arc::from("events"),
        EventId::new(Uuid::from_u64_pair(0, number)),
        Arc::from("one"),
        number,
        Arc::from("number.v1"),
        format!("{{\"number\":{number}}}").into(),
        chrono::DateTime::UNIX_EPOCH,
    );
    Router::to_topic("numbers").route(Change::event(position(number), event), &identity()).expect("a topic for events")
}

/// The numbers of the records that have a checkpoint after them, and of those that don't.
pub(crate) fn numbers(text: &str) -> (Vec<u64>, Vec<u64>) {
    let (mut trusted, mut open) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if line.get("checkpoint").is_some() {
            trusted.append(&mut open);
        } else if line.get("feed_file").is_none() {
            let number = line["payload"]["number"].as_u64().expect("a number");
            assert_eq!(line["headers"]["feed_version"], number.to_string());
            open.push(number);
        }
    }
    (trusted, open)
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("readable")
}

#[track_caller]
pub(crate) fn assert_holds(path: &Path, expected: std::ops::RangeInclusive<u64>) {
    assert_eq!(numbers(&read(path)), (expected.collect(), Vec::new()));
}

/// The identity of a feed that the tests publish as.
fn identity() -> FeedIdentity {
    let (source, publisher) = (SourceIdentity::new("", "", ""), PublisherIdentity::new("", ""));
    FeedIdentity::new(FeedName::new("tests").expect("a valid name"), Epoch::FIRST, source, publisher)
}
