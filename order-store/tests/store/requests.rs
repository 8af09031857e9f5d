//! A request that is made again is answered as it was the first time, and not done twice.

use futures::future::join_all;
use order_domain::{Command, Currency, NewOrder, OrderStatus};
use order_store::{Refusal, Request, RequestId, StoreError};

use crate::world::{World, customer, milk, noon, on_both_databases, pieces, version, window};

on_both_databases![
    a_change_that_is_asked_for_again_is_not_done_twice,
    an_order_that_is_created_again_is_the_first_one,
    the_first_answer_comes_again_whatever_happened_since,
    an_id_that_was_used_for_something_else_is_refused,
    neither_the_expected_version_nor_the_trace_makes_it_another_change,
    a_refused_request_may_be_made_again,
    a_request_that_is_made_many_times_at_once_is_done_once,
    an_order_that_is_created_many_times_at_once_is_one,
    without_the_history_the_present_order_is_the_answer,
];

fn id(text: &str) -> Request {
    Request::new().id(RequestId::new(text).expect("a request id"))
}

fn is_reused<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Refused(Refusal::RequestIdReused)))
}

async fn a_change_that_is_asked_for_again_is_not_done_twice(world: World) {
    let store = &world.store;
    let order = world.create().await;
    let added = store.add_item(order.id(), milk(2), id("add")).await.unwrap();
    assert_eq!(store.add_item(order.id(), milk(2), id("add")).await.unwrap(), added);
    let item = added.items()[0].id();
    let changed = store.change_quantity(order.id(), item, pieces(5), id("change")).await.unwrap();
    assert_eq!(store.change_quantity(order.id(), item, pieces(5), id("change")).await.unwrap(), changed);
    let second = store.add_item(order.id(), milk(9), Request::new()).await.unwrap().items()[1].id();
    let removed = store.remove_item(order.id(), second, id("remove")).await.unwrap();
    assert_eq!(store.remove_item(order.id(), second, id("remove")).await.unwrap(), removed);
    let scheduled = store.schedule(order.id(), noon(), id("schedule")).await.unwrap();
    assert_eq!(store.schedule(order.id(), noon(), id("schedule")).await.unwrap(), scheduled);
    let cancelled = store.cancel(order.id(), id("cancel")).await.unwrap();
    assert_eq!(store.cancel(order.id(), id("cancel")).await.unwrap(), cancelled);
    assert_eq!((cancelled.status(), cancelled.version()), (OrderStatus::Cancelled, version(7)));
    assert_eq!(world.events(order.id()).await.len(), 7);
}

async fn an_order_that_is_created_again_is_the_first_one(world: World) {
    let new = NewOrder::new(customer(), Currency::EUR);
    let order = world.store.create(new, id("create")).await.unwrap();
    world.store.add_item(order.id(), milk(1), Request::new()).await.unwrap();
    assert_eq!(world.store.create(new, id("create")).await.unwrap(), order, "as it was then: without the item");
    assert_eq!(world.store.list_by_customer(new.customer_id(), None).await.unwrap().orders.len(), 1);
}

async fn the_first_answer_comes_again_whatever_happened_since(world: World) {
    let order = world.create().await;
    let added = world.store.add_item(order.id(), milk(2), id("add")).await.unwrap();
    let item = added.items()[0].id();
    world.store.change_quantity(order.id(), item, pieces(9), Request::new()).await.unwrap();
    world.store.remove_item(order.id(), item, Request::new()).await.unwrap();
    world.store.cancel(order.id(), Request::new()).await.unwrap();
    assert_eq!(world.store.add_item(order.id(), milk(2), id("add")).await.unwrap(), added);
}

async fn an_id_that_was_used_for_something_else_is_refused(world: World) {
    let (order, other) = (world.with_items(2).await, world.with_items(1).await);
    let (first, second) = (order.items()[0].id(), order.items()[1].id());
    let store = &world.store;
    store.change_quantity(order.id(), first, pieces(5), id("one")).await.unwrap();
    let events = world.events(order.id()).await.len();
    assert!(is_reused(store.change_quantity(order.id(), first, pieces(6), id("one")).await), "another quantity");
    assert!(is_reused(store.change_quantity(order.id(), second, pieces(5), id("one")).await), "another item");
    assert!(is_reused(store.change_quantity(other.id(), first, pieces(5), id("one")).await), "another order");
    assert!(is_reused(store.remove_item(order.id(), first, id("one")).await), "another change");
    assert!(is_reused(store.create(NewOrder::new(customer(), Currency::EUR), id("one")).await), "a new order");
    store.schedule(order.id(), noon(), id("two")).await.unwrap();
    let other_window = window("2026-10-02T12:00:00Z", "2026-10-02T14:30:00Z");
    assert!(is_reused(store.schedule(order.id(), other_window, id("two")).await), "another window");
    let item_id = crate::world::nothing();
    store.change(order.id(), Command::AddItem { item_id, item: milk(1) }, id("three")).await.unwrap();
    let elsewhere = Command::AddItem { item_id: crate::world::nothing(), item: milk(1) };
    assert!(is_reused(store.change(order.id(), elsewhere, id("three")).await), "another id of the caller's choice");
    assert_eq!(world.events(order.id()).await.len(), events + 2);
}

async fn neither_the_expected_version_nor_the_trace_makes_it_another_change(world: World) {
    let order = world.create().await;
    let first = id("add").expecting(version(1));
    let added = world.store.add_item(order.id(), milk(2), first).await.unwrap();
    let again = id("add").traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_eq!(world.store.add_item(order.id(), milk(2), again.expecting(version(7))).await.unwrap(), added);
}

async fn a_refused_request_may_be_made_again(world: World) {
    let order = world.create().await;
    let refused = world.store.schedule(order.id(), noon(), id("schedule")).await;
    assert!(matches!(refused, Err(StoreError::Refused(Refusal::OrderEmpty))), "{refused:?}");
    world.store.add_item(order.id(), milk(1), Request::new()).await.unwrap();
    assert_eq!(world.store.schedule(order.id(), noon(), id("schedule")).await.unwrap().version(), version(3));
}

async fn a_request_that_is_made_many_times_at_once_is_done_once(world: World) {
    const AT_ONCE: usize = 12;
    for round in 0..4 {
        let order = world.create().await;
        let key = format!("add {round}").replace(' ', "-");
        let answers = join_all((0..AT_ONCE).map(|_| world.store.add_item(order.id(), milk(2), id(&key)))).await;
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(world.events(order.id()).await.len(), 2);
    }
}

async fn an_order_that_is_created_many_times_at_once_is_one(world: World) {
    const AT_ONCE: usize = 12;
    for round in 0..4 {
        let new = NewOrder::new(customer(), Currency::EUR);
        let answers = join_all((0..AT_ONCE).map(|_| world.store.create(new, id(&format!("create-{round}"))))).await;
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(world.store.list_by_customer(new.customer_id(), None).await.unwrap().orders, answers[..1]);
    }
}

async fn without_the_history_the_present_order_is_the_answer(world: World) {
    let order = world.create().await;
    world.store.add_item(order.id(), milk(2), id("add")).await.unwrap();
    let present = world.store.add_item(order.id(), milk(3), Request::new()).await.unwrap();
    // What the outbox's owner may do when a person's data is to go: payloads are scrubbed.
    world.scrub(order.id()).await;
    assert_eq!(world.store.add_item(order.id(), milk(2), id("add")).await.unwrap(), present);
}
