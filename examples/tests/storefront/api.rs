//! The storefront's API, as a client of it.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::program::PATIENCE;

/// The storefront's API at an address.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    base: String,
    client: Client,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) etag: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Api {
    pub(crate) fn at(base: &str) -> Self {
        // A client of its own for each test: connections don't outlive its runtime.
        let client = Client::builder().no_proxy().build().expect("a client");
        Self { base: base.to_owned(), client }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Its host and port.
    pub(crate) fn authority(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        Answer::to(self.request(method, path).json(&body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request("GET", path)).await
    }

    /// A new order of a new customer, in euros.
    pub(crate) async fn create(&self) -> Value {
        let customer = uuid::Uuid::now_v7();
        self.send("POST", "/orders", json!({ "customer_id": customer, "currency": "EUR" })).await.done(201)
    }

    pub(crate) async fn add(&self, order: &Value, sku: &str) -> Answer {
        let body = json!({ "sku": sku, "quantity": 1, "unit_price_minor": 149 });
        self.send("POST", &format!("{}/items", path(order)), body).await
    }

    pub(crate) async fn cancel(&self, order: &Value) -> Answer {
        self.send("POST", &format!("{}/cancellation", path(order)), json!({})).await
    }

    pub(crate) async fn is_healthy(&self) -> Value {
        self.get("/healthz").await.done(200)
    }

    /// Waits until the feed is in this state.
    pub(crate) async fn feed_is(&self, state: &str) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let health = self.is_healthy().await;
            if health["feed"]["state"] == state {
                return health;
            }
            assert!(tokio::time::Instant::now() < deadline, "the feed is not {state}: {health:#}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

/// The address of an order.
pub(crate) fn path(order: &Value) -> String {
    format!("/orders/{}", order["order_id"].as_str().expect("an order"))
}

impl Answer {
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let response = request.timeout(PATIENCE).send().await.expect("an answer");
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        Self {
            status: response.status(),
            content_type: header("content-type").unwrap_or_default(),
            etag: header("etag"),
            location: header("location"),
            retry_after: header("retry-after"),
            headers: response.headers().clone(),
            json: serde_json::from_slice(&response.bytes().await.expect("a body")).unwrap_or(Value::Null),
        }
    }

    /// What was asked for was done, and this is the order.
    #[track_caller]
    pub(crate) fn done(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:#?}");
        assert_eq!(self.content_type, "application/json");
        self.json
    }

    /// It was refused, with this status and kind of problem, and these words in its explanation.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, kind: &str, words: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:#?}");
        assert_eq!(self.content_type, "application/problem+json", "{self:#?}");
        assert_eq!(self.json["status"], status);
        let told = self.json["type"].as_str().expect("a type");
        assert!(told.ends_with(&format!("/{kind}")), "{told} is not {kind}");
        assert!(self.json["title"].is_string(), "{:#}", self.json);
        let detail = self.json["detail"].as_str().expect("an explanation");
        assert!(detail.contains(words), "{detail:?} does not speak of {words:?}");
        self.json
    }
}
