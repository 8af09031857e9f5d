//! Which address does what.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, patch, post, put};
use tower_http::decompression::RequestDecompressionLayer;

use super::problem::{Problem, ProblemKind};
use super::request::BODY_MAX_BYTES;
use super::shop::Shop;
use super::{health, live, orders, page};

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
        .route("/", get(page::show))
        .route("/page.js", get(page::script))
        .route("/page.css", get(page::style))
        .fallback(|| async { Problem::new(ProblemKind::NotFound, "the page is at /, orders are at /orders") })
        .method_not_allowed_fallback(|| async {
            Problem::new(ProblemKind::MethodNotAllowed, "the header Allow names the methods that are possible")
        })
        // The limit counts what a handler reads: a body after decompression.
        .layer((RequestDecompressionLayer::new().pass_through_unaccepted(true), DefaultBodyLimit::max(BODY_MAX_BYTES)))
        .with_state(shop)
}
