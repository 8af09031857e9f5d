//! Orders: the store's commands and questions as HTTP.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use order_domain::{Currency, CustomerId, DeliveryWindow, InvalidValue, NewItem, NewOrder, Order, Quantity, Sku};
use order_store::StoreError;
use serde::{Deserialize, Serialize};

use super::etag::{EntityTag, answer_without_body};
use super::problem::{Problem, ProblemKind};
use super::request::{Body, Conditions, ItemAt, OrderAt, id};
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
    conditions: Conditions,
    Body(OrderBody { customer_id, currency }): Body<OrderBody>,
) -> Result<Response, Problem> {
    let request = conditions.of_new_order()?;
    let order = shop.changed(shop.store().create(NewOrder::new(customer_id, currency), request).await)?;
    let location = [(header::LOCATION, format!("/orders/{}", order.id()))];
    Ok((location, whole(StatusCode::CREATED, &order)).into_response())
}

/// `GET /orders/{order_id}`
pub(crate) async fn get(
    State(shop): State<Shop>,
    OrderAt(order_id): OrderAt,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let order = shop.store().get(order_id).await?;
    let known = answer_without_body(&headers, &EntityTag::of(&order))?;
    Ok(known.unwrap_or_else(|| whole(StatusCode::OK, &order)))
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
    let tag = tag_of_all(&page.orders);
    if let Some(known) = answer_without_body(&headers, &tag)? {
        return Ok(known);
    }
    let listed = Listed { next_cursor: page.next.map(|next| next.to_string()), orders: page.orders };
    Ok(([(header::ETAG, tag.to_string())], Json(listed)).into_response())
}

/// `POST /orders/{order_id}/items`
pub(crate) async fn add_item(
    State(shop): State<Shop>,
    OrderAt(order_id): OrderAt,
    conditions: Conditions,
    Body(ItemBody { sku, quantity, unit_price_minor }): Body<ItemBody>,
) -> Result<Response, Problem> {
    let item = NewItem::in_order_currency(sku, quantity, unit_price_minor);
    let item = item.map_err(|error| Problem::invalid("unit_price_minor", error))?;
    let request = conditions.of_change(shop.store(), order_id).await?;
    changed(&shop, StatusCode::CREATED, shop.store().add_item(order_id, item, request).await)
}

/// `PATCH /orders/{order_id}/items/{item_id}`
pub(crate) async fn change_quantity(
    State(shop): State<Shop>,
    ItemAt(order_id, item_id): ItemAt,
    conditions: Conditions,
    Body(QuantityBody { quantity }): Body<QuantityBody>,
) -> Result<Response, Problem> {
    let request = conditions.of_change(shop.store(), order_id).await?;
    changed(&shop, StatusCode::OK, shop.store().change_quantity(order_id, item_id, quantity, request).await)
}

/// `DELETE /orders/{order_id}/items/{item_id}`
pub(crate) async fn remove_item(
    State(shop): State<Shop>,
    ItemAt(order_id, item_id): ItemAt,
    conditions: Conditions,
    Body(EmptyBody {}): Body<EmptyBody>,
) -> Result<Response, Problem> {
    let request = conditions.of_change(shop.store(), order_id).await?;
    changed(&shop, StatusCode::OK, shop.store().remove_item(order_id, item_id, request).await)
}

/// `PUT /orders/{order_id}/delivery-window`
pub(crate) async fn schedule(
    State(shop): State<Shop>,
    OrderAt(order_id): OrderAt,
    conditions: Conditions,
    Body(WindowBody { starts_at, ends_at }): Body<WindowBody>,
) -> Result<Response, Problem> {
    let window = DeliveryWindow::new(starts_at, ends_at).map_err(|error| {
        // An empty window has only the years of its start to be wrong.
        let start_is_wrong = DeliveryWindow::new(starts_at, starts_at) == Err(InvalidValue::WindowYear);
        Problem::invalid(if start_is_wrong { "starts_at" } else { "ends_at" }, error)
    })?;
    let request = conditions.of_change(shop.store(), order_id).await?;
    changed(&shop, StatusCode::OK, shop.store().schedule(order_id, window, request).await)
}

/// `POST /orders/{order_id}/cancellation`
pub(crate) async fn cancel(
    State(shop): State<Shop>,
    OrderAt(order_id): OrderAt,
    conditions: Conditions,
    Body(EmptyBody {}): Body<EmptyBody>,
) -> Result<Response, Problem> {
    let request = conditions.of_change(shop.store(), order_id).await?;
    changed(&shop, StatusCode::OK, shop.store().cancel(order_id, request).await)
}

/// Answers with the order that a change left.
fn changed(shop: &Shop, status: StatusCode, answer: Result<Order, StoreError>) -> Result<Response, Problem> {
    Ok(whole(status, &shop.changed(answer)?))
}

fn whole(status: StatusCode, order: &Order) -> Response {
    (status, [(header::ETAG, EntityTag::of(order).to_string())], Json(order)).into_response()
}

/// Shows whether one of the orders changed.
fn tag_of_all(orders: &[Order]) -> EntityTag {
    let mut hasher = DefaultHasher::new();
    for order in orders {
        (order.id(), order.version()).hash(&mut hasher);
    }
    EntityTag::weak(format!("{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use chrono::Utc;
    use order_domain::OrderId;
    use order_store::{MockOrderStore, Refusal};
    use tower::Service as _;

    use crate::http::{Shop, routes};

    #[tokio::test]
    async fn adding_an_item_asks_the_store_once() {
        let mut store = MockOrderStore::new();
        let refused = || Err(order_store::StoreError::Refused(Refusal::OrderNotFound));
        // Any other call of the store is a panic.
        store.expect_add_item().times(2).returning(move |_, item, _| {
            assert_eq!(item.currency(), None, "the order's own");
            refused()
        });
        let folder = tempfile::TempDir::new().expect("a folder for temporary files");
        let mut routes = routes(Shop::for_tests(&folder.path().join("shop.db"), store).await);
        let order_id = OrderId::generate(Utc::now());
        for if_match in [None, Some("\"1\"")] {
            let mut request =
                Request::post(format!("/orders/{order_id}/items")).header("content-type", "application/json");
            if let Some(tag) = if_match {
                request = request.header("if-match", tag);
            }
            let body = r#"{"sku":"milk","quantity":1,"unit_price_minor":149}"#;
            let request = request.body(Body::from(body)).expect("a request");
            let answer = routes.call(request).await.expect("an answer");
            assert_eq!(answer.status(), 404, "as the store answered");
        }
    }
}
