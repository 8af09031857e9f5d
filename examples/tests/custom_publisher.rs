//! The webhook of the example `custom_publisher` keeps the contract of a publisher.

#[path = "../programs/custom_publisher/webhook.rs"]
mod webhook;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use change_feed::conformance::publisher::{self, Capabilities, Destination, PublisherHarness, SeenRecord};
use change_feed::conformance::{HarnessError, NotConforming};
use change_feed::{FeedName, Publisher};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use webhook::Webhook;

/// What the receiver takes at most.
const LIMIT_BYTES: usize = 2 << 20;

#[tokio::test]
async fn a_webhook_keeps_the_contract_of_a_publisher() -> Result<(), NotConforming> {
    publisher::run(&Webhooks).await.into_result().map(drop)
}

struct Webhooks;

#[async_trait]
impl PublisherHarness for Webhooks {
    fn capabilities(&self) -> Capabilities {
        let too_large = format!(r#"{{"text":"{}"}}"#, "x".repeat(LIMIT_BYTES));
        // Requests are not a transaction: the events before a rejected one were accepted.
        Capabilities::new().rejects(too_large).may_show_rejected_parts().shared_by_feeds().can_be_made_unavailable()
    }

    async fn destination(&self) -> Result<Box<dyn Destination>, HarnessError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let received = Received::default();
        let routes = axum::Router::new()
            .route("/", post(receive))
            .layer(DefaultBodyLimit::max(LIMIT_BYTES))
            .with_state(received.clone());
        let server = tokio::spawn(axum::serve(listener, routes).into_future()).abort_handle();
        Ok(Box::new(Receiver { url, received, server }))
    }
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Inbox>>);

#[derive(Default)]
struct Inbox {
    records: Vec<SeenRecord>,
    /// It takes what it gets and answers that it failed.
    unavailable: bool,
}

async fn receive(State(Received(inbox)): State<Received>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut inbox = inbox.lock().expect("not poisoned");
    inbox.records.push(seen(&headers, &body));
    if inbox.unavailable { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// The record with the names of its headers as the suite knows them.
fn seen(headers: &HeaderMap, body: &Bytes) -> SeenRecord {
    let ours = |name: &str| name.starts_with("ce-") || name.starts_with("feed-");
    let named = |name: &str| if ours(name) { name.replace('-', "_") } else { name.to_owned() };
    let of_the_record = |name: &str| ours(name) || ["content-type", "feed", "traceparent"].contains(&name);
    let headers: Vec<_> = headers
        .iter()
        .filter(|(name, _)| of_the_record(name.as_str()))
        .map(|(name, value)| (named(name.as_str()), value.as_bytes().to_vec()))
        .collect();
    let key = headers.iter().find(|(name, _)| name == "ce_subject").map(|(_, key)| key.clone()).unwrap_or_default();
    SeenRecord { partition: 0, key, headers, payload: Some(body.to_vec()) }
}

struct Receiver {
    url: String,
    received: Received,
    server: AbortHandle,
}

#[async_trait]
impl Destination for Receiver {
    fn topic(&self) -> Arc<str> {
        Arc::from("conformance")
    }

    async fn publisher(&self, _: &FeedName) -> Result<Box<dyn Publisher>, HarnessError> {
        Ok(Box::new(Webhook { client: reqwest::Client::new(), url: self.url.clone() }))
    }

    async fn records(&self) -> Result<Vec<SeenRecord>, HarnessError> {
        Ok(self.received.0.lock().expect("not poisoned").records.clone())
    }

    async fn make_unavailable(&self) -> Result<(), HarnessError> {
        self.received.0.lock().expect("not poisoned").unavailable = true;
        Ok(())
    }

    async fn make_available(&self) -> Result<(), HarnessError> {
        self.received.0.lock().expect("not poisoned").unavailable = false;
        Ok(())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}
