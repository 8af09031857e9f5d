//! The file: what is kept, what is cut off, who may write.

use std::fs;

use change_feed::memory::{MemoryDatabase, MemoryEvent, MemorySource};
use change_feed::ndjson::NdjsonPublisher;
use change_feed::publisher::KeptPosition;
use change_feed::{FeedName, Mismatch, PublishError, Relay, RelayError, RelayState, Router, SourceIdentity};
use tempfile::TempDir;

use crate::ndjson::feed::{Feed, assert_holds, numbers, read};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[tokio::test]
async fn a_file_goes_on_where_it_ended() {
    let (folder, feed) = (folder(), Feed::new("numbers"));
    let path = folder.path().join("numbers.ndjson");
    for start in [1, 11, 21] {
        let publisher = NdjsonPublisher::file(&path);
        assert_eq!(feed.last(&publisher).await, start - 1);
        feed.publish(&publisher, start..=start + 4, true).await.expect("durable");
        feed.publish(&publisher, start + 5..=start + 9, true).await.expect("durable");
    }
    assert_holds(&path, 1..=30);
    assert_eq!(read(&path).lines().count(), 1 + 30 + 6);
}

#[tokio::test]
async fn what_continues_is_open_until_its_end_and_cut_off_at_a_resume() {
    let (folder, feed) = (folder(), Feed::new("numbers"));
    let path = folder.path().join("numbers.ndjson");
    let publisher = NdjsonPublisher::file(&path);
    let resumed = feed.resume(&publisher).await.expect("nobody has held it before");
    assert_eq!(resumed.position, KeptPosition::NotYet);
    feed.publish(&publisher, 1..=3, false).await.expect("taken");
    assert_eq!(numbers(&read(&path)), (vec![], vec![1, 2, 3]));
    assert_eq!(feed.last(&publisher).await, 0);
    assert_eq!(numbers(&read(&path)), (vec![], vec![]));
    feed.publish(&publisher, 1..=3, false).await.expect("taken");
    feed.publish(&publisher, 4..=5, true).await.expect("durable");
    assert_holds(&path, 1..=5);
    feed.publish(&publisher, 6..=9, false).await.expect("taken");
    drop(publisher);
    assert_eq!(feed.last(&NdjsonPublisher::file(&path)).await, 5);
    assert_holds(&path, 1..=5);
}

#[tokio::test]
async fn a_dropped_call_is_settled_by_the_next_resume() {
    let (folder, feed) = (folder(), Feed::new("numbers"));
    let path = folder.path().join("numbers.ndjson");
    let publisher = NdjsonPublisher::file(&path);
    let mut last = feed.last(&publisher).await;
    for _ in 0..20 {
        {
            let mut call = std::pin::pin!(feed.publish(&publisher, last + 1..=last + 3, true));
            // It has begun; whether it ends before it is dropped is nobody's concern.
            let _ = futures::poll!(call.as_mut());
        }
        {
            let mut call = std::pin::pin!(feed.resume(&publisher));
            let _ = futures::poll!(call.as_mut());
        }
        last = feed.last(&publisher).await;
        assert_holds(&path, 1..=last);
    }
    feed.publish(&publisher, last + 1..=last + 1, true).await.expect("durable");
    assert_holds(&path, 1..=last + 1);
}

#[tokio::test]
async fn one_publisher_at_a_time_holds_the_file() {
    let (folder, feed) = (folder(), Feed::new("numbers"));
    let path = folder.path().join("numbers.ndjson");
    let (first, second) = (NdjsonPublisher::file(&path), NdjsonPublisher::file(&path));
    feed.last(&first).await;
    let refused = feed.resume(&second).await.expect_err("held");
    let PublishError::Transient(cause) = &refused else { panic!("{refused:?}") };
    assert!(cause.to_string().contains("locking"), "{cause}");
    feed.publish(&first, 1..=1, true).await.expect("durable");
    drop(first);
    assert_eq!(feed.last(&second).await, 1);
}

#[tokio::test]
async fn a_file_of_another_feed_or_database_is_left_alone() {
    let (folder, feed) = (folder(), Feed::new("numbers"));
    let path = folder.path().join("numbers.ndjson");
    let publisher = NdjsonPublisher::file(&path);
    feed.last(&publisher).await;
    feed.publish(&publisher, 1..=2, true).await.expect("durable");
    feed.publish(&publisher, 3..=4, false).await.expect("taken");
    drop(publisher);
    let before = read(&path);
    let copy = Feed { source: SourceIdentity::new("numbers", "a copy", "events"), ..Feed::new("numbers") };
    let forgetful = Feed { enrolled: None, ..Feed::new("numbers") };
    for stranger in [Feed::new("others"), copy, forgetful] {
        let refused = stranger.refused(&NdjsonPublisher::file(&path)).await;
        assert!(
            matches!(refused, PublishError::Closed(Mismatch::Differs { .. } | Mismatch::Forgotten { .. })),
            "{refused:?}"
        );
        assert_eq!(read(&path), before);
    }
    assert_eq!(feed.last(&NdjsonPublisher::file(&path)).await, 2);
}

#[tokio::test]
async fn what_is_not_a_feeds_file_is_refused_and_left_alone() {
    let (folder, feed) = (folder(), Feed::new("numbers"));
    let path = folder.path().join("letter.txt");
    fs::write(&path, "Dear Sir,\n").expect("written");
    let refused = feed.resume(&NdjsonPublisher::file(&path)).await.expect_err("refused");
    assert!(
        matches!(&refused, PublishError::Fatal { what, .. } if what.contains("not the file of a feed")),
        "{refused}"
    );
    assert_eq!(read(&path), "Dear Sir,\n");
}

#[tokio::test]
async fn a_place_that_can_not_be_written_to_is_named_with_its_remedy() {
    let (folder, feed) = (folder(), Feed::new("numbers"));
    let missing = folder.path().join("missing").join("numbers.ndjson");
    for (path, said) in [(missing.as_path(), "folder of"), (folder.path(), "is not a file")] {
        let refused = feed.resume(&NdjsonPublisher::file(path)).await.expect_err("refused");
        let PublishError::Fatal { what, source: Some(_) } = &refused else { panic!("{refused:?}") };
        assert!(what.contains(said) && what.contains(&path.display().to_string()), "{what}");
    }
}

#[tokio::test]
async fn a_file_that_was_moved_away_closes_the_feed_and_goes_on_when_it_is_back() {
    let folder = folder();
    let path = folder.path().join("orders.ndjson");
    let aside = folder.path().join("aside.ndjson");
    let database = MemoryDatabase::new();
    let feed = FeedName::new("orders").expect("a valid name");
    let relay = || {
        let source = MemorySource::new(&database, &feed);
        Relay::new(feed.clone(), source, Router::to_topic("orders.events"), NdjsonPublisher::file(&path))
    };
    let event = |number: u64| MemoryEvent::new("one").payload(format!("{{\"number\":{number}}}"));
    let first = relay();
    let handle = first.handle();
    let run = first.run(async {
        database.commit([event(1)]);
        handle.wait_until(|status| status.position >= database.end()).await;
        fs::rename(&path, &aside).expect("moved");
        database.commit([event(2)]);
        handle.wait_until(|status| status.state == RelayState::Stopped).await;
    });
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), Box::pin(run)).await.expect("it ends");
    let Err(RelayError::Closed { reason, .. }) = ended else { panic!("{ended:?}") };
    assert!(matches!(*reason, Mismatch::Differs { what: "cluster", .. }), "{reason}");
    fs::rename(&aside, &path).expect("moved back");
    let second = relay();
    let handle = second.handle();
    database.commit([event(3)]);
    let run = second.run(async {
        handle.wait_until(|status| status.position >= database.end()).await;
    });
    Box::pin(run).await.expect("it goes on");
    assert_holds(&path, 1..=3);
}

#[tokio::test]
async fn a_payload_that_is_not_json_is_withheld() {
    let folder = folder();
    let path = folder.path().join("orders.ndjson");
    let database = MemoryDatabase::new();
    database.commit([MemoryEvent::new("a"), MemoryEvent::new("a").payload("not JSON"), MemoryEvent::new("a")]);
    let feed = FeedName::new("orders").expect("a valid name");
    let source = MemorySource::new(&database, &feed);
    let relay = Relay::new(feed, source, Router::to_topic("orders.events"), NdjsonPublisher::file(&path));
    let handle = relay.handle();
    let run = relay.run(async {
        handle.wait_until(|status| status.position >= database.end()).await;
    });
    Box::pin(run).await.expect("withheld");
    let text = read(&path);
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[2]["headers"]["feed_version"], "2");
    assert_eq!(lines[2]["headers"]["feed_withheld"], "the payload is not JSON");
    assert_eq!(lines[2].get("payload"), None);
    assert_eq!(handle.status().withheld, 1);
}
