//! A custom publisher in thirty lines (`webhook.rs`): a feed whose events go to an HTTP server. This program starts the server
//! itself, and it is busy at first. The relay tries again; no event is lost, and the order stays.
//!
//! ```sh
//! cargo run --example custom_publisher
//! ```
//!
//! `tests/custom_publisher.rs` runs the conformance suite on it.

mod webhook;

use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use change_feed::memory::{MemoryDatabase, MemoryEvent, MemorySource};
use change_feed::{FeedName, Relay, Router};
use tokio::net::TcpListener;

use webhook::Webhook;

/// How many requests are answered with "busy".
static BUSY: AtomicU32 = AtomicU32::new(2);

/// The receiver of the webhook.
async fn receive(headers: HeaderMap, body: String) -> StatusCode {
    let busy = BUSY.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    if busy.is_ok() {
        println!("503 Service Unavailable");
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("?");
    println!("200 {} version {}: {body}", text("ce-subject"), text("feed-version"));
    StatusCode::OK
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/events", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, axum::Router::new().route("/events", post(receive))).into_future());

    let database = MemoryDatabase::new();
    for quantity in 1..=3 {
        database.commit([MemoryEvent::new("order-1").payload(format!(r#"{{"quantity":{quantity}}}"#))]);
    }
    let feed = FeedName::new("webhook")?;
    let publisher = Webhook { client: reqwest::Client::new(), url };
    let relay = Relay::new(feed.clone(), MemorySource::new(&database, &feed), Router::to_topic("orders"), publisher);
    let handle = relay.handle();
    let end = database.end();
    relay.run(async move { drop(handle.wait_until(|status| status.position == end).await) }).await?;
    Ok(())
}
