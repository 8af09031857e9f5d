//! Whether the store works, and how the feed is.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use order_domain::OrderId;
use order_store::{Refusal, StoreError};
use serde_json::json;
use tokio::time::timeout;

use super::problem::{Problem, ProblemKind};
use super::shop::Shop;

/// A database that takes longer is not working.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// `GET /healthz`: 200 while the store works, whatever the broker does. An orchestrator that restarted a store because
/// its broker is away would add an outage of its own.
pub(crate) async fn healthz(State(shop): State<Shop>) -> Result<Response, Problem> {
    // An id that was made just now belongs to no order: "not found" is the answer of a database that works.
    let answer = timeout(ANSWER_TIMEOUT, shop.store().get(OrderId::generate(Utc::now()))).await;
    match answer {
        Ok(Ok(_) | Err(StoreError::Refused(Refusal::OrderNotFound))) => {}
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(Problem::new(ProblemKind::Unavailable, "the database does not answer")),
    }
    let feed = shop.feed.status();
    let health = json!({
        "status": "ok",
        "database": shop.around.database,
        "broker": shop.around.broker,
        "topic": shop.around.topic,
        "feed": feed.to_json(),
        "reading_back": shop.journal.trouble().map_or_else(|| "ok".to_owned(), |trouble| format!("interrupted: {trouble}")),
    });
    Ok(Json(health).into_response())
}
