//! The suite of publishers on lines of JSON: a file, and a stream.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use change_feed::conformance::publisher::{self, Capabilities, Destination, PublisherHarness, SeenRecord};
use change_feed::conformance::{HarnessError, NotConforming};
use change_feed::ndjson::NdjsonPublisher;
use change_feed::{FeedName, Publisher};
use serde_json::Value;
use tempfile::TempDir;

#[tokio::test]
async fn a_file_of_lines_keeps_the_contract_of_a_transactional_publisher() -> Result<(), NotConforming> {
    let report = publisher::run(&Files).await.into_result()?;
    let not_claimed = ["resume-shuts-out-earlier-relays", "lost-answer-is-no-duplicate", "feeds-are-separate"];
    assert!(report.not_applicable().eq(not_claimed), "{report}");
    Ok(())
}

#[tokio::test]
async fn a_stream_of_lines_keeps_the_contract_of_a_publisher() -> Result<(), NotConforming> {
    publisher::run(&Streams).await.into_result().map(drop)
}

const NOT_JSON: &str = r#"{"sku":"milk""#;

struct Files;

#[async_trait]
impl PublisherHarness for Files {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new().keeps_position().transactional().rejects(NOT_JSON).publishes_rows()
    }

    async fn destination(&self) -> Result<Box<dyn Destination>, HarnessError> {
        let folder = TempDir::new()?;
        Ok(Box::new(File { path: folder.path().join("feed.ndjson"), _folder: folder }))
    }
}

struct File {
    path: PathBuf,
    _folder: TempDir,
}

#[async_trait]
impl Destination for File {
    fn topic(&self) -> Arc<str> {
        Arc::from("conformance")
    }

    async fn publisher(&self, _: &FeedName) -> Result<Box<dyn Publisher>, HarnessError> {
        Ok(Box::new(NdjsonPublisher::file(&self.path)))
    }

    /// The records that have a checkpoint after them.
    async fn records(&self) -> Result<Vec<SeenRecord>, HarnessError> {
        let text = match std::fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let (mut trusted, mut open) = (Vec::new(), Vec::new());
        for line in text.lines() {
            match record(line) {
                Ok(Some(record)) => open.push(record),
                Ok(None) if line.starts_with(r#"{"checkpoint""#) => trusted.append(&mut open),
                Ok(None) => {}
                // What has no checkpoint after it may be torn.
                Err(_) => break,
            }
        }
        Ok(trusted)
    }
}

struct Streams;

#[async_trait]
impl PublisherHarness for Streams {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new().rejects(NOT_JSON).shared_by_feeds().publishes_rows()
    }

    async fn destination(&self) -> Result<Box<dyn Destination>, HarnessError> {
        Ok(Box::new(Pipe::default()))
    }
}

/// Everything that was written to it.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Destination for Pipe {
    fn topic(&self) -> Arc<str> {
        Arc::from("conformance")
    }

    async fn publisher(&self, _: &FeedName) -> Result<Box<dyn Publisher>, HarnessError> {
        Ok(Box::new(NdjsonPublisher::writer(self.clone())))
    }

    async fn records(&self) -> Result<Vec<SeenRecord>, HarnessError> {
        let text = String::from_utf8(self.0.lock().expect("not poisoned").clone())?;
        let records: Result<Vec<_>, _> = text.lines().map(record).collect();
        Ok(records?.into_iter().flatten().collect())
    }
}

/// The record of a line, if it is one.
fn record(line: &str) -> Result<Option<SeenRecord>, HarnessError> {
    const PAYLOAD: &str = r#"},"payload":"#;
    let value: Value = serde_json::from_str(line)?;
    let (Some(key), Some(headers)) = (value["key"].as_str(), value["headers"].as_object()) else {
        return Ok(None);
    };
    let text = |(name, value): (&String, &Value)| (name.clone(), value.as_str().unwrap_or_default().into());
    // Byte for byte: no quote stands unescaped in the key or in a header.
    let payload = line.split_once(PAYLOAD).and_then(|(_, rest)| rest.strip_suffix('}'));
    // An event whose payload is the JSON null says that it is JSON.
    let is_null = payload == Some("null") && !headers.contains_key("content-type");
    Ok(Some(SeenRecord {
        partition: 0,
        key: key.into(),
        headers: headers.iter().map(text).collect(),
        // A stub's line has no payload: it is empty.
        payload: (!is_null).then(|| payload.unwrap_or_default().into()),
    }))
}
