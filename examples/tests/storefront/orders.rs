//! Orders over HTTP: every route, every refusal.

use serde_json::{Value, json};

use crate::api::{Answer, path};
use crate::live_stream::LiveStream;
use crate::shop::{Shop, shop};

#[tokio::test]
async fn an_order_is_created_filled_scheduled_and_cancelled() {
    let Shop { api, .. } = &shop().await;
    let customer = uuid::Uuid::now_v7().to_string();
    let created = api.send("POST", "/orders", json!({ "customer_id": customer, "currency": "EUR" })).await;
    assert_eq!(created.etag.as_deref(), Some("\"1\""));
    let location = created.location.clone().expect("the order's address");
    let order = created.done(201);
    assert_eq!(location, path(&order));
    assert_eq!(order["customer_id"], customer);
    assert_eq!((&order["status"], &order["version"], &order["currency"]), (&json!("open"), &json!(1), &json!("EUR")));
    assert_eq!((&order["items"], &order["delivery_window"]), (&json!([]), &Value::Null));

    let items = format!("{location}/items");
    let milk = json!({ "sku": "milk", "quantity": 2, "unit_price_minor": 149 });
    let order = api.send("POST", &items, milk).await.done(201);
    let item = &order["items"][0];
    assert_eq!((&item["sku"], &item["quantity"], &item["unit_price_minor"]), (&json!("milk"), &json!(2), &json!(149)));
    let milk = format!("{items}/{}", item["item_id"].as_str().expect("an id"));
    let order = api.send("PATCH", &milk, json!({ "quantity": 3 })).await.done(200);
    assert_eq!((&order["version"], &order["items"][0]["quantity"]), (&json!(3), &json!(3)));
    api.add(&order, "bread").await.done(201);
    let order = Answer::to(api.request("DELETE", &milk)).await.done(200);
    assert_eq!((&order["version"], &order["items"][0]["sku"]), (&json!(5), &json!("bread")));

    let window = json!({ "starts_at": "2026-12-01T10:00:00+01:00", "ends_at": "2026-12-01T11:00:00.5Z" });
    let order = api.send("PUT", &format!("{location}/delivery-window"), window).await.done(200);
    let kept = json!({ "starts_at": "2026-12-01T09:00:00.000000Z", "ends_at": "2026-12-01T11:00:00.500000Z" });
    assert_eq!((&order["status"], &order["delivery_window"]), (&json!("scheduled"), &kept));
    let cancelled = api.cancel(&order).await;
    assert_eq!(cancelled.etag.as_deref(), Some("\"7\""));
    let order = cancelled.done(200);
    assert_eq!((&order["status"], &order["version"]), (&json!("cancelled"), &json!(7)));
    assert_eq!(api.get(&location).await.done(200), order);
}

#[tokio::test]
async fn a_cancelled_order_refuses_every_change_in_words() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let order = api.add(&order, "milk").await.done(201);
    let cancelled = api.cancel(&order).await.done(200);
    let at = path(&order);
    let item = format!("{at}/items/{}", order["items"][0]["item_id"].as_str().expect("an id"));
    let window = json!({ "starts_at": "2026-12-01T10:00:00Z", "ends_at": "2026-12-01T11:00:00Z" });
    for (method, address, body) in [
        ("POST", format!("{at}/items"), json!({ "sku": "milk", "quantity": 1, "unit_price_minor": 1 })),
        ("PATCH", item.clone(), json!({ "quantity": 3 })),
        ("DELETE", item, json!({})),
        ("PUT", format!("{at}/delivery-window"), window),
        ("POST", format!("{at}/cancellation"), json!({})),
    ] {
        let problem = api.send(method, &address, body).await.refused(409, "order-cancelled", "cancelled");
        assert_eq!(problem["at_version"], 3, "{method} {address}");
    }
    assert_eq!(api.get(&at).await.done(200), cancelled);
}

#[tokio::test]
async fn an_order_needs_an_item_to_be_scheduled_and_keeps_one() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let window = json!({ "starts_at": "2026-12-01T10:00:00Z", "ends_at": "2026-12-01T11:00:00Z" });
    let address = format!("{}/delivery-window", path(&order));
    api.send("PUT", &address, window.clone()).await.refused(409, "order-empty", "no items");
    let order = api.add(&order, "milk").await.done(201);
    api.send("PUT", &address, window).await.done(200);
    let item = format!("{}/items/{}", path(&order), order["items"][0]["item_id"].as_str().expect("an id"));
    api.send("DELETE", &item, json!({})).await.refused(409, "order-empty", "at least one item");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let nobody = uuid::Uuid::now_v7();
    let item = json!({ "sku": "milk", "quantity": 1, "unit_price_minor": 1 });
    api.get(&format!("/orders/{nobody}")).await.refused(404, "order-not-found", "no such order");
    api.send("POST", &format!("/orders/{nobody}/items"), item).await.refused(404, "order-not-found", "order");
    api.send("POST", &format!("/orders/{nobody}/cancellation"), json!({})).await.refused(404, "order-not-found", "");
    let address = format!("{}/items/{nobody}", path(&order));
    api.send("PATCH", &address, json!({ "quantity": 1 })).await.refused(404, "item-not-found", "no such item");
    api.send("DELETE", &address, json!({})).await.refused(404, "item-not-found", "no such item");
    api.get("/order").await.refused(404, "not-found", "/orders");
    api.send("PUT", "/orders", json!({})).await.refused(405, "method-not-allowed", "");
}

#[tokio::test]
async fn a_customers_orders_are_listed_page_by_page_the_newest_first() {
    let Shop { api, .. } = &shop().await;
    let customer = uuid::Uuid::now_v7();
    let mut created = Vec::new();
    for _ in 0..45 {
        let order = api.send("POST", "/orders", json!({ "customer_id": customer, "currency": "EUR" })).await.done(201);
        created.insert(0, order);
    }
    api.create().await;
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/orders?customer_id={customer}&cursor={cursor}")).await.done(200);
        listed.extend(page["orders"].as_array().expect("orders").clone());
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(listed, created);
}

#[tokio::test]
async fn the_trace_of_a_request_is_carried_into_its_event() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let cancel = api.request("POST", &format!("{}/cancellation", path(&order)));
    Answer::to(cancel.header("traceparent", traceparent).json(&json!({}))).await.done(200);
    let mut live = LiveStream::open(api, None).await;
    assert_eq!(live.next_of(&order).await.data["traceparent"], Value::Null);
    let cancelled = live.next_of(&order).await.data;
    assert_eq!((&cancelled["type"], &cancelled["traceparent"]), (&json!("order.cancelled.v1"), &json!(traceparent)));
}

#[tokio::test]
async fn bad_input_is_refused_with_words_that_say_what_is_wrong() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let (items, window) = (format!("{}/items", path(&order)), format!("{}/delivery-window", path(&order)));
    let customer = uuid::Uuid::now_v7().to_string();
    let cases = [
        ("POST", "/orders", r#"{"customer_id":"someone","currency":"EUR"}"#, "customer_id"),
        ("POST", "/orders", &format!(r#"{{"customer_id":"{customer}","currency":"eur"}}"#), "currency"),
        ("POST", "/orders", &format!(r#"{{"customer_id":"{customer}"}}"#), "currency"),
        ("POST", "/orders", r#"{"customer_id":"#, "JSON"),
        ("POST", "/orders", "[1]", "object"),
        ("POST", "/orders", "null", "object"),
        ("POST", &items, r#"{"sku":"fresh milk","quantity":1,"unit_price_minor":1}"#, "sku"),
        ("POST", &items, r#"{"sku":"","quantity":1,"unit_price_minor":1}"#, "sku"),
        ("POST", &items, r#"{"sku":"milk","quantity":0,"unit_price_minor":1}"#, "quantity"),
        ("POST", &items, r#"{"sku":"milk","quantity":1000,"unit_price_minor":1}"#, "quantity"),
        ("POST", &items, r#"{"sku":"milk","quantity":"1","unit_price_minor":1}"#, "quantity"),
        ("POST", &items, r#"{"sku":"milk","quantity":1.5,"unit_price_minor":1}"#, "quantity"),
        ("POST", &items, r#"{"sku":"milk","quantity":1,"unit_price_minor":-1}"#, "unit_price_minor"),
        ("POST", &items, r#"{"sku":"milk","quantity":1,"unit_price_minor":1e30}"#, "unit_price_minor"),
        ("POST", &items, r#"{"sku":"milk","quantity":1,"unit_price_minor":1,"colour":"white"}"#, "colour"),
        ("POST", &items, "", "sku"),
        ("POST", "/orders/7/items", r#"{"sku":"milk","quantity":1,"unit_price_minor":1}"#, "order_id"),
        ("PATCH", &format!("{items}/7"), r#"{"quantity":1}"#, "item_id"),
        ("PUT", &window, r#"{"starts_at":"tomorrow","ends_at":"2026-12-01T10:00:00Z"}"#, "starts_at"),
        ("PUT", &window, r#"{"starts_at":"2026-12-01T10:00:00Z","ends_at":"2026-12-01T10:00:00Z"}"#, "ends_at"),
        ("PUT", &window, r#"{"starts_at":"1969-12-01T10:00:00Z","ends_at":"2026-12-01T10:00:00Z"}"#, "starts_at"),
        ("PUT", &window, r#"{"starts_at":"+10000-01-01T00:00:00Z","ends_at":"2026-12-01T10:00:00Z"}"#, "starts_at"),
        ("PUT", &window, r#"{"starts_at":"1969-01-01T00:00:00Z","ends_at":"1969-12-01T10:00:00Z"}"#, "starts_at"),
        ("PUT", &window, r#"{"starts_at":"2026-12-01T10:00:00Z","ends_at":"+10000-01-01T00:00:00Z"}"#, "ends_at"),
        ("PUT", &window, r#"{"starts_at":"9999-12-31T23:59:59Z","ends_at":"+10000-01-01T00:00:00Z"}"#, "ends_at"),
        ("POST", &format!("{}/cancellation", path(&order)), r#"{"why":"no"}"#, "why"),
        ("GET", "/orders", "", "customer_id"),
        ("GET", "/orders?customer_id=7", "", "customer_id"),
        ("GET", &format!("/orders?customer_id={customer}&cursor=second"), "", "cursor"),
        ("GET", &format!("/orders?customer_id={customer}&page=2"), "", "page"),
        ("GET", "/orders/%FF", "", ""),
        ("GET", "/?order=7", "", "order"),
    ];
    for (method, address, body, words) in cases {
        let request = api.request(method, address).header("Content-Type", "application/json").body(body.to_owned());
        let problem = Answer::to(request).await.refused(422, "invalid-request", words);
        if let Some(field) = problem["field"].as_str() {
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.starts_with(field)), "{problem:#}");
        }
    }
    assert_eq!(api.get(&path(&order)).await.done(200), order);
}

#[tokio::test]
async fn an_order_that_is_full_says_so() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    for _ in 0..order_domain::MAX_ITEMS_PER_ORDER {
        api.add(&order, "milk").await.done(201);
    }
    let problem = api.add(&order, "milk").await.refused(409, "order-full", "at most");
    assert_eq!(problem["limit"], order_domain::MAX_ITEMS_PER_ORDER);
}
