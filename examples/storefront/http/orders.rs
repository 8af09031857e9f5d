//! Orders: the store's commands and questions as HTTP.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use order_domain::{Currency, CustomerId, DeliveryWindow, Money, NewItem, NewOrder, Order, Quantity, Sku};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::conditions::Conditions;
use super::place::{ItemAt, OrderAt, id};
use super::problem::{Problem, ProblemKind};
use super::shop::Shop;

/// The body of `POST /orders`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object with customer_id and currency")]
pub(crate) struct OrderBody {
    customer_id: CustomerId,
    currency: Currency,
}

/// The body of `POST /orders/{order_id}/items`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object with sku, quantity and unit_price_minor")]
pub(crate) struct ItemBody {
    sku: Sku,
    quantity: Quantity,
    unit_price_minor: i64,
}

/// The body of `PATCH /orders/{order_id}/items/{item_id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object with quantity")]
pub(crate) struct QuantityBody {
    quantity: Quantity,
}

/// The body of `PUT /orders/{order_id}/delivery-window`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object with starts_at and ends_at")]
pub(crate) struct WindowBody {
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}

/// The body of a request that says everything in its address.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an empty JSON object")]
pub(crate) struct EmptyBody {}

/// The question of `GET /orders`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    customer_id: Option<String>,
    cursor: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize)]
struct Listed {
    orders: Vec<Order>,
    /// For the question after the next page; null on the last one.
    next_cursor: Option<String>,
}

/// `POST /orders`
pub(crate) async fn create(
    State(shop): State<Shop>,
    Conditions(request): Conditions,
    Body(OrderBody { customer_id, currency }): Body<OrderBody>,
) -> Result<Response, Problem> {
    if request.expected_version().is_some() {
        return Err(Problem::invalid("If-Match", "nothing: a new order has no version yet"));
    }
    let order = shop.store().create(NewOrder::new(customer_id, currency), request).await?;
    let location = [(header::LOCATION, format!("/orders/{}", order.id()))];
    Ok((location, shop.changed(StatusCode::CREATED, &order)).into_response())
}

/// `GET /orders/{order_id}`
pub(crate) async fn get(
    State(shop): State<Shop>,
    OrderAt(order_id): OrderAt,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let order = shop.store().get(order_id).await?;
    let etag = etag_of(&order);
    if is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    Ok(shown(StatusCode::OK, &order))
}

/// `GET /orders?customer_id=&cursor=`
pub(crate) async fn list(
    State(shop): State<Shop>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(ListQuery { customer_id, cursor }) =
        query.map_err(|rejection| Problem::new(ProblemKind::InvalidRequest, rejection.body_text()))?;
    let customer_id = customer_id.ok_or_else(|| Problem::invalid("customer_id", "say whose orders"))?;
    let customer_id = id("customer_id", &customer_id)?;
    let cursor = cursor.filter(|text| !text.is_empty()).map(|text| text.parse()).transpose();
    let cursor = cursor.map_err(|error| Problem::invalid("cursor", error))?;
    let page = shop.store().list_by_customer(customer_id, cursor).await?;
    let etag = etag_of_all(&page.orders);
    if is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let listed = Listed { next_cursor: page.next.map(|next| next.to_string()), orders: page.orders };
    Ok(([(header::ETAG, etag)], Json(listed)).into_response())
}

/// `POST /orders/{order_id}/items`
pub(crate) async fn add_item(
    State(shop): State<Shop>,
    OrderAt(order_id): OrderAt,
    Conditions(request): Conditions,
    Body(ItemBody { sku, quantity, unit_price_minor }): Body<ItemBody>,
) -> Result<Response, Problem> {
    // An order's currency never changes, so what is read here still holds when the item is added.
    let currency = shop.store().get(order_id).await?.currency();
    let price = Money::from_minor(unit_price_minor, currency);
    let price = price.map_err(|error| Problem::invalid("unit_price_minor", error))?;
    let order = shop.store().add_item(order_id, NewItem::new(sku, quantity, price), request).await?;
    Ok(shop.changed(StatusCode::CREATED, &order))
}

/// `PATCH /orders/{order_id}/items/{item_id}`
pub(crate) async fn change_quantity(
    State(shop): State<Shop>,
    ItemAt(order_id, item_id): ItemAt,
    Conditions(request): Conditions,
    Body(QuantityBody { quantity }): Body<QuantityBody>,
) -> Result<Response, Problem> {
    let order = shop.store().change_quantity(order_id, item_id, quantity, request).await?;
    Ok(shop.changed(StatusCode::OK, &order))
}

/// `DELETE /orders/{order_id}/items/{item_id}`
pub(crate) async fn remove_item(
    State(shop): State<Shop>,
    ItemAt(order_id, item_id): ItemAt,
    Conditions(request): Conditions,
    Body(EmptyBody {}): Body<EmptyBody>,
) -> Result<Response, Problem> {
    let order = shop.store().remove_item(order_id, item_id, request).await?;
    Ok(shop.changed(StatusCode::OK, &order))
}

/// `PUT /orders/{order_id}/delivery-window`
pub(crate) async fn schedule(
    State(shop): State<Shop>,
    OrderAt(order_id): OrderAt,
    Conditions(request): Conditions,
    Body(WindowBody { starts_at, ends_at }): Body<WindowBody>,
) -> Result<Response, Problem> {
    let window = DeliveryWindow::new(starts_at, ends_at);
    let window = window.map_err(|error| Problem::invalid("ends_at", error))?;
    let order = shop.store().schedule(order_id, window, request).await?;
    Ok(shop.changed(StatusCode::OK, &order))
}

/// `POST /orders/{order_id}/cancellation`
pub(crate) async fn cancel(
    State(shop): State<Shop>,
    OrderAt(order_id): OrderAt,
    Conditions(request): Conditions,
    Body(EmptyBody {}): Body<EmptyBody>,
) -> Result<Response, Problem> {
    let order = shop.store().cancel(order_id, request).await?;
    Ok(shop.changed(StatusCode::OK, &order))
}

/// An order as the answer.
pub(crate) fn shown(status: StatusCode, order: &Order) -> Response {
    (status, [(header::ETAG, etag_of(order))], Json(order)).into_response()
}

fn etag_of(order: &Order) -> String {
    format!("\"{}\"", order.version())
}

/// Weak: it tells whether one of the orders changed, and nothing to match a change against.
fn etag_of_all(orders: &[Order]) -> String {
    let mut hasher = DefaultHasher::new();
    for order in orders {
        (order.id(), order.version()).hash(&mut hasher);
    }
    format!("W/\"{:016x}\"", hasher.finish())
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|list| list.split(',')).any(|tag| tag.trim() == etag)
}
