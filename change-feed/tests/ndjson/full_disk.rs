//! A disk that is full: simulated by the limit that the operating system puts on a file's size.

use std::path::Path;
use std::process::{Command, Stdio};

use change_feed::PublishError;
use change_feed::ndjson::NdjsonPublisher;

use crate::ndjson::feed::{Feed, assert_holds};

const FILE: &str = "CHANGE_FEED_TEST_FULL_DISK";

#[tokio::test]
async fn a_full_disk_takes_back_the_part_and_goes_on_when_there_is_room() {
    if let Ok(path) = std::env::var(FILE) {
        return fill(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("numbers.ndjson");
    // The same test again, in a process whose files may have at most 64 blocks. Its signal is
    // ignored, so that the write fails instead.
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "ndjson::full_disk::a_full_disk_takes_back_the_part_and_goes_on_when_there_is_room",
            "--nocapture",
        ])
        .stdout(Stdio::null())
        .env(FILE, &path)
        .status()
        .expect("a shell");
    assert!(status.success(), "{status}");
    let feed = Feed::new("numbers");
    let publisher = NdjsonPublisher::file(&path);
    let last = feed.last(&publisher).await;
    assert!(last > 0);
    assert_holds(&path, 1..=last);
    feed.publish(&publisher, last + 1..=last + 1000, true).await.expect("there is room");
    assert_holds(&path, 1..=last + 1000);
}

/// Publishes until the file is full; then it is as if the last part had never been begun.
async fn fill(path: &Path) {
    let feed = Feed::new("numbers");
    let publisher = NdjsonPublisher::file(path);
    let mut last = feed.last(&publisher).await;
    let full = loop {
        match feed.publish(&publisher, last + 1..=last + 5, true).await {
            Ok(()) => last += 5,
            Err(full) => break full,
        }
        assert!(last < 100_000, "the limit doesn't hold");
    };
    let PublishError::Transient(cause) = &full else { panic!("{full:?}") };
    assert!(cause.to_string().contains("writing to"), "{cause}");
    assert!(cause.source().is_some());
    assert_holds(path, 1..=last);
    // Again and again: it stays so until there is room.
    for _ in 0..3 {
        assert_eq!(feed.last(&publisher).await, last);
        feed.publish(&publisher, last + 1..=last + 5, true).await.expect_err("still full");
        assert_holds(path, 1..=last);
    }
}
