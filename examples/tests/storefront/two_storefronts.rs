//! Two storefronts on one database: two web servers of one store, one of which relays.

use serde_json::{Value, json};

use crate::api::{Api, path};
use crate::live_stream::LiveStream;
use crate::place::Place;
use crate::program::Program;

/// Two storefronts, the relaying one first.
async fn two(place: &Place) -> (Program, Program) {
    let first = place.start().args(&["--no-demo"]).serving().await;
    first.api().await.feed_is("relaying").await;
    let second = place.start().args(&["--no-demo"]).serving().await;
    second.api().await.feed_is("standing_by").await;
    second.line("feed: standing by").await;
    (first, second)
}

#[tokio::test]
async fn what_one_cancels_the_other_refuses_and_both_show_it() {
    let place = Place::new().await;
    let (first, second) = two(&place).await;
    let (a, b) = (first.api().await, second.api().await);
    for (canceller, adder) in [(&a, &b), (&b, &a)] {
        let order = canceller.create().await;
        adder.add(&order, "milk").await.done(201);
        let cancelled = canceller.cancel(&order).await.done(200);
        adder.add(&order, "bread").await.refused(409, "order-cancelled", "cancelled at version 3");
        for api in [&a, &b] {
            LiveStream::open(api, None).await.through(&cancelled).await;
        }
    }
    let verdict = place.verdict().await;
    assert!(verdict.is_clean(), "{verdict:?}");
}

#[tokio::test]
async fn an_id_of_one_resumes_at_the_other() {
    let place = Place::new().await;
    let (first, second) = two(&place).await;
    let (a, b) = (first.api().await, second.api().await);
    for _ in 0..6 {
        let order = a.create().await;
        a.cancel(&order).await.done(200);
    }
    // Partitions are read side by side, so that the two may see the orders in another order.
    let all = LiveStream::open(&a, None).await.take(12).await;
    LiveStream::open(&b, None).await.take(12).await;
    let mut rest = LiveStream::open(&b, Some(&all[4].id)).await;
    let mut places = Vec::new();
    while places.len() < all.len() - 5 {
        let event = rest.next().await.expect("the stream goes on");
        places.push((event.data["partition"].as_u64(), event.data["offset"].as_u64()));
    }
    let mut expected: Vec<_> =
        all[5..].iter().map(|event| (event.data["partition"].as_u64(), event.data["offset"].as_u64())).collect();
    places.sort_unstable();
    expected.sort_unstable();
    assert_eq!(places, expected);
}

#[tokio::test]
async fn when_the_relaying_one_is_killed_the_other_takes_over_and_the_topic_has_each_event_once() {
    let place = Place::new().await;
    let (first, second) = two(&place).await;
    let (a, b) = (first.api().await, second.api().await);
    let writers: Vec<_> = [a.clone(), b.clone(), b.clone()].into_iter().map(|api| tokio::spawn(write(api))).collect();
    // In the middle of their writing.
    let mut live = LiveStream::open(&b, None).await;
    for _ in 0..20 {
        live.next().await.expect("an event");
    }
    first.signal("KILL").await;
    b.feed_is("relaying").await;
    second.line("feed: relaying").await;
    let mut accepted = 0;
    for writer in writers {
        accepted += writer.await.expect("a writer");
    }
    let order = b.create().await;
    let order = b.cancel(&order).await.done(200);
    LiveStream::open(&b, None).await.through(&order).await;
    let verdict = place.verdict().await;
    assert!(verdict.is_clean(), "{verdict:?}");
    let records = place.records().await.len();
    assert!(records >= accepted + 2, "{accepted} changes were accepted, {records} events published");
    println!("{accepted} changes accepted, {records} events published, each once");
    assert_eq!(second.terminated().await.code(), Some(0));
}

/// Makes orders until its storefront is gone, or there are enough of them; tells how many changes were accepted.
async fn write(api: Api) -> usize {
    let mut accepted = 0;
    for _ in 0..40 {
        let body = json!({ "customer_id": uuid::Uuid::now_v7(), "currency": "EUR" });
        let Ok(response) = api.request("POST", "/orders").json(&body).send().await else { break };
        assert_eq!(response.status(), 201);
        let Ok(order) = response.json::<Value>().await else { break };
        accepted += 1;
        let item = json!({ "sku": "milk", "quantity": 1, "unit_price_minor": 149 });
        for _ in 0..4 {
            let Ok(response) = api.request("POST", &format!("{}/items", path(&order))).json(&item).send().await else {
                return accepted;
            };
            assert_eq!(response.status(), 201);
            accepted += 1;
        }
    }
    accepted
}

#[tokio::test]
async fn when_the_relaying_one_ends_in_order_the_other_takes_over_at_once() {
    let place = Place::new().await;
    let (first, second) = two(&place).await;
    assert_eq!(first.terminated().await.code(), Some(0));
    let api = second.api().await;
    api.feed_is("relaying").await;
    let order = api.create().await;
    LiveStream::open(&api, None).await.through(&order).await;
    assert!(place.verdict().await.is_clean());
}
