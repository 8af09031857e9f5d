//! Whether the store works, and how the feed is.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use order_domain::OrderId;
use order_store::{Refusal, Request, StoreError};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::problem::{Problem, ProblemKind};
use super::shop::Shop;
use crate::console::chain;

/// A database that takes longer is not working.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// `GET /healthz`: 200 while the store works, whatever the broker does. An orchestrator that restarted a store because
/// its broker is away would add an outage of its own.
///
/// The answer is 503 too if orders can be read but not changed. Its body says which of the two works.
pub(crate) async fn healthz(State(shop): State<Shop>) -> Result<Response, Problem> {
    let reads = within_limit(can_read(&shop)).await;
    let writes = within_limit(can_write(&shop)).await;
    let store = json!({ "reads": words(&reads), "writes": words(&writes) });
    if let Err(cause) = reads.and(writes) {
        let detail = format!("orders can't be read or changed at present: {cause}");
        return Err(Problem::new(ProblemKind::Unavailable, detail).with("store", store));
    }
    let trouble = shop.journal.trouble();
    let health = json!({
        "status": "ok",
        "store": store,
        "database": shop.around.database,
        "broker": shop.around.broker,
        "topic": shop.around.topic,
        "feed": shop.feed.status().to_json(),
        "reading_back": trouble.map_or_else(|| "ok".to_owned(), |trouble| format!("interrupted: {trouble}")),
    });
    Ok(Json(health).into_response())
}

/// An id that was made just now belongs to no order: "not found" is the answer of a database that works.
async fn can_read(shop: &Shop) -> Result<(), StoreError> {
    not_found(shop.store().get(OrderId::generate(Utc::now())).await.map(drop))
}

/// Cancelling an order that does not exist takes every step of a change and changes nothing. A full disk shows only when
/// something is written, so this writes something after a change that failed.
async fn can_write(shop: &Shop) -> Result<(), StoreError> {
    not_found(shop.store().cancel(OrderId::generate(Utc::now()), Request::new()).await.map(drop))?;
    if shop.changes_fail() {
        shop.database.write_something().await?;
        shop.note_changes_fail(false);
    }
    Ok(())
}

fn not_found(answer: Result<(), StoreError>) -> Result<(), StoreError> {
    match answer {
        Err(StoreError::Refused(Refusal::OrderNotFound)) => Ok(()),
        answer => answer,
    }
}

async fn within_limit(answer: impl Future<Output = Result<(), StoreError>>) -> Result<(), &'static str> {
    match timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::error!(target: "storefront::health", error = chain(&error), "the store does not work");
            Err("the database refuses or is away; the storefront's log has the cause")
        }
        Err(_) => Err("the database does not answer"),
    }
}

fn words(answer: &Result<(), &'static str>) -> Value {
    answer.map_or_else(Value::from, |()| "ok".into())
}
