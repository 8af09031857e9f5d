//! Conditions of a request: entity tags (RFC 9110, 13.1) and `Idempotency-Key`.

use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::api::{Answer, Api, path};
use crate::shop::{Shop, shop};

fn milk() -> Value {
    json!({ "sku": "milk", "quantity": 1, "unit_price_minor": 149 })
}

/// Adds an item under the conditions of these header lines.
async fn add(api: &Api, order: &Value, headers: &[(&str, &str)]) -> Answer {
    let request = api.request("POST", &format!("{}/items", path(order))).json(&milk());
    Answer::to(headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a header's value"))
    }))
    .await
}

#[tokio::test]
async fn if_match_refuses_a_change_of_another_version() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let items = format!("{}/items", path(&order));
    let milk = json!({ "sku": "milk", "quantity": 1, "unit_price_minor": 149 });
    let add = |tag: &str| Answer::to(api.request("POST", &items).header("If-Match", tag).json(&milk));
    add("\"1\"").await.done(201);
    let problem = add("\"1\"").await.refused(412, "version-conflict", "version 2");
    assert_eq!((&problem["expected"], &problem["actual"]), (&json!(1), &json!(2)));
    add("2").await.done(201);
    add("*").await.done(201);
    add("\"x\"").await.refused(422, "invalid-request", "If-Match");
    let new = api.request("POST", "/orders").header("If-Match", "1");
    let body = json!({ "customer_id": uuid::Uuid::now_v7(), "currency": "EUR" });
    Answer::to(new.json(&body)).await.refused(422, "invalid-request", "If-Match");
}

#[tokio::test]
async fn a_question_with_a_known_etag_is_answered_without_the_order() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let list = format!("/orders?customer_id={}", order["customer_id"].as_str().expect("an id"));
    for address in [path(&order), list] {
        let etag = api.get(&address).await.etag.expect("an ETag");
        let again = || Answer::to(api.request("GET", &address).header("If-None-Match", &etag));
        assert_eq!(again().await.status, 304);
        api.add(&order, "milk").await.done(201);
        assert_eq!(again().await.status, 200);
    }
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_the_first_was_and_not_done_twice() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let items = format!("{}/items", path(&order));
    let add = |key: &str, sku: &str| {
        let body = json!({ "sku": sku, "quantity": 1, "unit_price_minor": 149 });
        Answer::to(api.request("POST", &items).header("Idempotency-Key", key).json(&body))
    };
    let first = add("key-1", "milk").await.done(201);
    assert_eq!(add("key-1", "milk").await.done(201), first);
    assert_eq!(add("\"key-1\"", "milk").await.done(201), first);
    api.cancel(&order).await.done(200);
    assert_eq!(add("key-1", "milk").await.done(201), first, "even though the order was cancelled meanwhile");
    add("key-1", "bread").await.refused(422, "idempotency-key-reused", "another");
    add("two words", "bread").await.refused(422, "invalid-request", "Idempotency-Key");
    assert_eq!(api.get(&path(&order)).await.done(200)["version"], 3);
}

#[tokio::test]
async fn if_match_compares_strongly_with_every_tag_of_the_request() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let order = api.add(&order, "milk").await.done(201);
    // At version 2.
    for headers in [
        &[("If-Match", r#"W/"2""#)][..],
        &[("If-Match", r#"W/"1", W/"2""#)],
        &[("If-Match", r#""1", "3""#)],
        &[("If-Match", r#""1""#), ("If-Match", r#"W/"2""#)],
        &[("If-Match", r#""x", "y,2""#)],
    ] {
        let problem = add(api, &order, headers).await.refused(412, "version-conflict", "2");
        assert_eq!(problem["actual"], 2, "{headers:?}: {problem:#}");
    }
    for (version, headers) in [
        (3, &[("If-Match", r#""1", "2""#)][..]),
        (4, &[("If-Match", r#""x","y" , W/"3",, "3""#)]),
        (5, &[("If-Match", r#""1""#), ("If-Match", r#""4""#)]),
        (6, &[("If-Match", " * ")]),
        (7, &[("If-Match", r#""6""#)]),
    ] {
        assert_eq!(add(api, &order, headers).await.done(201)["version"], version, "{headers:?}");
    }
    for value in ["", "W/7", r#""7" "7""#, r#""7"#, r#"*, "7""#, "\u{e9}"] {
        add(api, &order, &[("If-Match", value)]).await.refused(422, "invalid-request", "");
    }
    let nobody = json!({ "order_id": uuid::Uuid::now_v7().to_string() });
    for tags in ["*", r#""1""#, r#"W/"1""#, r#""1", "2""#] {
        add(api, &nobody, &[("If-Match", tags)]).await.refused(404, "order-not-found", "");
    }
}

#[tokio::test]
async fn if_none_match_on_a_change_refuses_the_versions_that_it_names() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    for tags in ["*", r#""1""#, r#"W/"1""#, r#""7", "1""#] {
        add(api, &order, &[("If-None-Match", tags)]).await.refused(412, "version-conflict", "If-None-Match");
    }
    assert_eq!(add(api, &order, &[("If-None-Match", r#""2""#)]).await.done(201)["version"], 2);
}

#[tokio::test]
async fn if_none_match_on_a_question_compares_weakly_and_if_match_strongly() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let list = format!("/orders?customer_id={}", order["customer_id"].as_str().expect("an id"));
    for (address, is_strong) in [(path(&order), true), (list, false)] {
        let tag = api.get(&address).await.etag.expect("an ETag");
        let opaque = tag.trim_start_matches("W/").to_owned();
        let ask =
            |method: &str, header: &str, value: &str| Answer::to(api.request(method, &address).header(header, value));
        for value in [&opaque, &format!("W/{opaque}"), &format!("\"x\" ,, W/{opaque}"), "*"] {
            for method in ["GET", "HEAD"] {
                let answer = ask(method, "If-None-Match", value).await;
                assert_eq!((answer.status.as_u16(), answer.etag), (304, Some(tag.clone())), "{method} {value}");
            }
        }
        for value in ["\"x\"", "W/\"x\"", "nonsense"] {
            assert_eq!(ask("GET", "If-None-Match", value).await.status, 200, "{value}");
        }
        ask("GET", "If-Match", "*").await.done(200);
        let by_tag = ask("GET", "If-Match", &format!("\"x\", {opaque}")).await;
        assert_eq!(by_tag.status, if is_strong { 200 } else { 412 });
        ask("GET", "If-Match", &format!("W/{opaque}")).await.refused(412, "version-conflict", "ETag");
    }
}

#[tokio::test]
async fn a_repeated_request_with_a_condition_is_answered_as_the_first_was() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    for (key, tags) in [("one", r#""1""#), ("list", r#""2", "9""#)] {
        let headers = [("Idempotency-Key", key), ("If-Match", tags)];
        let first = add(api, &order, &headers).await.done(201);
        assert_eq!(add(api, &order, &headers).await.done(201), first);
    }
}

#[tokio::test]
async fn a_key_belongs_to_one_order_and_one_command() {
    let Shop { api, .. } = &shop().await;
    let (order, other) = (api.create().await, api.create().await);
    let keyed = [("Idempotency-Key", "k-1")];
    add(api, &order, &keyed).await.done(201);
    add(api, &other, &keyed).await.refused(422, "idempotency-key-reused", "");
    let cancel = api.request("POST", &format!("{}/cancellation", path(&order))).header("Idempotency-Key", "k-1");
    Answer::to(cancel).await.refused(422, "idempotency-key-reused", "");
    add(api, &order, &[("Idempotency-Key", "a"), ("Idempotency-Key", "b")]).await.refused(422, "invalid-request", "");
}

#[tokio::test]
async fn a_key_that_comes_several_times_at_once_is_done_once() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let headers = [("Idempotency-Key", "same")];
    let answers = futures::future::join_all((0..8).map(|_| add(api, &order, &headers))).await;
    for answer in answers {
        assert_eq!(answer.done(201)["version"], 2);
    }
}
