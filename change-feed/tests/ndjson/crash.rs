//! `kill -9` while a process writes its file.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use change_feed::ndjson::NdjsonPublisher;

use crate::ndjson::feed::{Feed, assert_holds};

const FILE: &str = "CHANGE_FEED_TEST_CRASH";
const KILLS: u32 = 20;

#[tokio::test]
async fn a_writer_that_is_killed_loses_nothing_and_doubles_nothing() {
    if let Ok(path) = std::env::var(FILE) {
        return write_for_ever(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("numbers.ndjson");
    let feed = Feed::new("numbers");
    let mut last = 0;
    for kill in 0..KILLS {
        let mut writer = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "ndjson::crash::a_writer_that_is_killed_loses_nothing_and_doubles_nothing"])
            .env(FILE, &path)
            .stdout(Stdio::null())
            .spawn()
            .expect("a child");
        // Once it writes, at a moment that differs each time.
        let size = || std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let (before, began) = (size(), Instant::now());
        while size() <= before + u64::from(kill) * 1000 {
            assert!(began.elapsed() < Duration::from_secs(60), "the child doesn't write");
            std::thread::sleep(Duration::from_millis(1));
        }
        writer.kill().expect("killed");
        writer.wait().expect("ended");
        let kept = feed.last(&NdjsonPublisher::file(&path)).await;
        assert!(kept >= last, "{kept} after {last}");
        assert_holds(&path, 1..=kept);
        last = kept;
    }
    assert!(last > 0);
}

/// Parts of one to four pieces and of one to fifty records.
async fn write_for_ever(path: &Path) {
    let feed = Feed::new("numbers");
    let publisher = NdjsonPublisher::file(path);
    let mut last = feed.last(&publisher).await;
    loop {
        let pieces = 1 + last % 4;
        for piece in 1..=pieces {
            let count = 1 + (last * 7 + piece) % 50;
            feed.publish(&publisher, last + 1..=last + count, piece == pieces).await.expect("written");
            last += count;
        }
    }
}
