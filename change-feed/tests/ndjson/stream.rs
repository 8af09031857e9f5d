//! A stream: it repeats rather than loses, and never glues two lines together.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use change_feed::PublishError;
use change_feed::ndjson::NdjsonPublisher;
use change_feed::publisher::KeptPosition;

use crate::ndjson::feed::{Feed, numbers};

/// Takes bytes until its room is used up, fails then, and has room again.
#[derive(Clone, Default)]
struct Narrow {
    taken: Arc<Mutex<Vec<u8>>>,
    room: Arc<Mutex<usize>>,
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut room = self.room.lock().expect("no writer panics");
        if *room == 0 {
            *room = usize::MAX;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let takes = bytes.len().min(*room);
        *room -= takes;
        self.taken.lock().expect("no writer panics").extend_from_slice(&bytes[..takes]);
        Ok(takes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn after_a_failure_anywhere_every_record_has_a_line_of_its_own() {
    let feed = Feed::new("numbers");
    for room in 1..1200 {
        let narrow = Narrow::default();
        *narrow.room.lock().expect("no writer panics") = room;
        let publisher = NdjsonPublisher::writer(narrow.clone());
        assert_eq!(feed.resume(&publisher).await.expect("resumed").position, KeptPosition::Never);
        if let Err(error) = feed.publish(&publisher, 1..=2, true).await {
            assert!(matches!(error, PublishError::Transient(_)), "{error:?}");
            feed.resume(&publisher).await.expect("resumed");
            feed.publish(&publisher, 1..=2, true).await.expect("there is room");
        }
        let text = String::from_utf8(narrow.taken.lock().expect("no writer panics").clone()).expect("text");
        let is_json = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok();
        let whole: Vec<&str> = text.lines().filter(is_json).collect();
        let (_, numbers) = numbers(&whole.join("\n"));
        // What was cut is no line of a record; what came again came whole.
        assert!(numbers.ends_with(&[1, 2]), "room {room}: {numbers:?}\n{text}");
        assert!(text.lines().count() - whole.len() <= 1, "room {room}:\n{text}");
    }
}

#[tokio::test]
async fn a_full_disk_is_tried_again() {
    let feed = Feed::new("numbers");
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a device that is always full");
    let publisher = NdjsonPublisher::writer(full);
    feed.resume(&publisher).await.expect("resumed");
    let refused = feed.publish(&publisher, 1..=1, true).await.expect_err("full");
    let PublishError::Transient(cause) = &refused else { panic!("{refused:?}") };
    assert!(cause.to_string().contains("No space left"), "{cause}");
}

#[tokio::test]
async fn a_reader_that_went_away_stops_the_feed() {
    let feed = Feed::new("numbers");
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let publisher = NdjsonPublisher::writer(writer);
    feed.resume(&publisher).await.expect("resumed");
    let refused = feed.publish(&publisher, 1..=1, true).await.expect_err("nobody reads");
    assert!(matches!(refused, PublishError::Fatal { .. }), "{refused:?}");
}
