//! Which address does what.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use order_domain::OrderId;
use serde::Deserialize;

use super::body::BODY_MAX_BYTES;
use super::problem::{Problem, ProblemKind};
use super::shop::Shop;
use super::{health, live, orders};
use crate::page;

/// The API, the live feed and the page.
pub(crate) fn routes(shop: Shop) -> Router {
    Router::new()
        .route("/orders", post(orders::create).get(orders::list))
        .route("/orders/{order_id}", get(orders::get))
        .route("/orders/{order_id}/items", post(orders::add_item))
        .route("/orders/{order_id}/items/{item_id}", patch(orders::change_quantity).delete(orders::remove_item))
        .route("/orders/{order_id}/delivery-window", put(orders::schedule))
        .route("/orders/{order_id}/cancellation", post(orders::cancel))
        .route("/events", get(live::events))
        .route("/healthz", get(health::healthz))
        .route("/", get(show_page))
        .route("/page.js", get(page::script))
        .route("/page.css", get(page::style))
        .fallback(|| async { Problem::new(ProblemKind::NotFound, "the page is at /, orders are at /orders") })
        .method_not_allowed_fallback(|| async {
            Problem::new(ProblemKind::MethodNotAllowed, "the header Allow names the methods that it takes")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .with_state(shop)
}

#[derive(Debug, Deserialize)]
struct PageQuery {
    order: Option<OrderId>,
    devices: Option<u8>,
}

async fn show_page(State(shop): State<Shop>, query: Result<Query<PageQuery>, QueryRejection>) -> Response {
    match query {
        Ok(Query(PageQuery { order, devices })) => {
            page::page(&shop.around, order, devices.unwrap_or(1)).into_response()
        }
        Err(rejection) => Problem::new(ProblemKind::InvalidRequest, rejection.body_text()).into_response(),
    }
}
