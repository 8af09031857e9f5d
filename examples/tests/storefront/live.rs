//! The live feed: server-sent events.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::{Api, path};
use crate::live_stream::{LiveEvent, LiveStream};
use crate::program::{Program, Start};

async fn started(folder: &TempDir) -> (Program, Api) {
    let program = Start::within(folder.path()).args(&["--no-demo"]).serving().await;
    let api = program.api().await;
    (program, api)
}

fn folder() -> TempDir {
    TempDir::new().expect("a folder for temporary files")
}

/// The places of events in the topic.
fn places(events: &[LiveEvent]) -> Vec<(Value, Value)> {
    events.iter().map(|event| (event.data["partition"].clone(), event.data["offset"].clone())).collect()
}

#[tokio::test]
async fn every_event_comes_as_the_broker_has_it() {
    let folder = folder();
    let (_program, api) = started(&folder).await;
    let mut live = LiveStream::open(&api, None).await;
    let order = api.create().await;
    let event = live.next_of(&order).await.data;
    assert_eq!((&event["type"], &event["version"]), (&json!("order.created.v1"), &json!(1)));
    assert_eq!(event["payload"]["customer_id"], order["customer_id"]);
    assert_eq!((&event["duplicate"], &event["withheld"], &event["epoch"]), (&json!(false), &Value::Null, &json!(1)));
    for number in ["partition", "offset", "milliseconds"] {
        assert!(event[number].is_number(), "{number} in {event:#}");
    }
    for text in ["event_id", "occurred_at", "position"] {
        assert!(event[text].is_string(), "{text} in {event:#}");
    }
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing_and_gets_nothing_twice_wherever_it_left() {
    let folder = folder();
    let (_program, api) = started(&folder).await;
    // Many orders, so that the events stand in many partitions.
    for _ in 0..8 {
        let order = api.create().await;
        api.cancel(&order).await.done(200);
    }
    // Partitions are read side by side: any order's events may be the last to come.
    let all = LiveStream::open(&api, None).await.take(16).await;
    for (index, event) in all.iter().enumerate().take(15) {
        let rest = LiveStream::open(&api, Some(&event.id)).await.take(15 - index).await;
        assert_eq!(places(&rest), places(&all[index + 1..]), "after event {index}");
        assert_eq!(rest.last(), all.last(), "its id too");
    }
}

#[tokio::test]
async fn a_client_that_was_away_for_long_is_given_what_it_missed_from_the_broker() {
    let folder = folder();
    let (_program, api) = started(&folder).await;
    let order = api.create().await;
    let first = LiveStream::open(&api, None).await.next_of(&order).await;
    // Another order's events fill the program's memory of events.
    let other = api.create().await;
    let other = api.add(&other, "milk").await.done(201);
    let item = format!("{}/items/{}", path(&other), other["items"][0]["item_id"].as_str().expect("an id"));
    for quantity in 0..1_200 {
        api.send("PATCH", &item, json!({ "quantity": 1 + quantity % 9 })).await.done(200);
    }
    let last = api.cancel(&order).await.done(200);
    let missed = LiveStream::open(&api, Some(&first.id)).await.through(&last).await;
    let of = |order: &Value| {
        let events = missed.iter().filter(|event| event.data["order_id"] == order["order_id"]);
        events.map(|event| event.data["version"].as_u64().expect("a version")).collect::<Vec<_>>()
    };
    assert_eq!(of(&order), [2]);
    let versions = of(&other);
    assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>());
    assert!(missed.len() > 1_024, "{} events", missed.len());
}

#[tokio::test]
async fn a_client_that_loses_its_connection_again_before_an_event_comes_back_to_the_same_place() {
    let folder = folder();
    let (_program, api) = started(&folder).await;
    let order = api.create().await;
    let first = LiveStream::open(&api, None).await.next_of(&order).await;
    for _ in 0..3 {
        drop(LiveStream::open(&api, Some(&first.id)).await);
    }
    let order = api.cancel(&order).await.done(200);
    let rest = LiveStream::open(&api, Some(&first.id)).await.through(&order).await;
    assert_eq!(rest.len(), 1, "{rest:?}");
}

#[tokio::test]
async fn an_id_of_a_broker_that_is_gone_begins_with_the_last_events() {
    let folder = folder();
    let (program, api) = started(&folder).await;
    let order = api.create().await;
    let id = LiveStream::open(&api, None).await.next_of(&order).await.id;
    program.terminated().await;
    let (_program, api) = started(&folder).await;
    let again = LiveStream::open(&api, Some(&id)).await.next_of(&order).await;
    assert_eq!(again.data["version"], 1);
}

#[tokio::test]
async fn an_id_that_no_stream_gave_is_refused() {
    let folder = folder();
    let (_program, api) = started(&folder).await;
    for id in ["yesterday at noon", "a-b-c", "a-1:x"] {
        LiveStream::refused(&api, id).await.refused(422, "invalid-request", "Last-Event-ID");
    }
}

#[tokio::test]
async fn the_end_of_the_program_ends_the_streams_and_finishes_what_was_asked() {
    let folder = folder();
    let (program, api) = started(&folder).await;
    let order = api.create().await;
    let mut live = LiveStream::open(&api, None).await;
    live.next_of(&order).await;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (api, order) = (api.clone(), order.clone());
            tokio::spawn(async move {
                let mut accepted = 0;
                let body = json!({ "sku": "milk", "quantity": 1, "unit_price_minor": 1 });
                loop {
                    let request = api.request("POST", &format!("{}/items", path(&order))).json(&body);
                    match request.send().await {
                        Ok(response) if response.status() == 201 => accepted += 1,
                        Ok(response) => return (accepted, Some(response.status().as_u16())),
                        // No connection is taken any more.
                        Err(_) => return (accepted, None),
                    }
                }
            })
        })
        .collect();
    live.next_of(&order).await;
    let ended = program.terminated().await;
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    while live.next().await.is_some() {}
    let mut accepted = 0;
    for client in clients {
        let (count, status) = client.await.expect("a client");
        // The order is full.
        assert!(matches!(status, None | Some(409)), "{status:?}");
        accepted += count;
    }
    let (_program, api) = started(&folder).await;
    let order = api.get(&path(&order)).await.done(200);
    assert!(order["version"].as_u64() >= Some(1 + accepted), "{accepted} were accepted: {order:#}");
}
