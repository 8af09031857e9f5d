//! A client of the live feed.

use std::collections::VecDeque;
use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use serde_json::Value;
use tokio::time::timeout;

use crate::api::{Answer, Api};
use crate::program::PATIENCE;

/// A client of the live feed.
pub(crate) struct LiveStream {
    chunks: Pin<Box<dyn Stream<Item = reqwest::Result<Vec<u8>>> + Send>>,
    text: String,
    events: VecDeque<LiveEvent>,
}

/// An event and its id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LiveEvent {
    pub(crate) id: String,
    pub(crate) data: Value,
}

impl LiveStream {
    /// From the last events on, or after the event of an id.
    pub(crate) async fn open(api: &Api, after: Option<&str>) -> Self {
        let mut request = api.request("GET", "/events");
        if let Some(id) = after {
            request = request.header("Last-Event-ID", id);
        }
        let response = timeout(PATIENCE, request.send()).await.expect("in time").expect("an answer");
        if !response.status().is_success() {
            panic!("{:?}", response.text().await);
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let chunks = response.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec()));
        Self { chunks: Box::pin(chunks), text: String::new(), events: VecDeque::new() }
    }

    pub(crate) async fn refused(api: &Api, after: &str) -> Answer {
        Answer::to(api.request("GET", "/events").header("Last-Event-ID", after)).await
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<LiveEvent> {
        while self.events.is_empty() {
            let chunk = timeout(PATIENCE, self.chunks.next()).await.expect("an event in time")?;
            let chunk = chunk.ok()?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("ASCII, as these tests write it"));
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                self.events.extend(parse(block));
                self.text = rest.to_owned();
            }
        }
        self.events.pop_front()
    }

    /// The next event of this order.
    pub(crate) async fn next_of(&mut self, order: &Value) -> LiveEvent {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.data["order_id"] == order["order_id"] {
                return event;
            }
        }
    }

    /// The next `count` events.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<LiveEvent> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.next().await.expect("the stream goes on"));
        }
        events
    }

    /// Everything until the event that closed this version of this order.
    pub(crate) async fn through(&mut self, order: &Value) -> Vec<LiveEvent> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.expect("the stream goes on");
            let is_last = event.data["order_id"] == order["order_id"] && event.data["version"] == order["version"];
            events.push(event);
            if is_last {
                return events;
            }
        }
    }
}

/// Comments and the reconnection time are not events, and must not move the place that a client comes back to.
fn parse(block: &str) -> Option<LiveEvent> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
    let Some(data) = field("data:") else {
        assert_eq!(field("id:"), None, "an id without an event");
        return None;
    };
    let data = serde_json::from_str(data).expect("JSON");
    Some(LiveEvent { id: field("id:").expect("an id").to_owned(), data })
}
