//! Many changes of one order at once: no answer lies about the version that it names.

use std::collections::BTreeMap;
use std::sync::Arc;

use order_domain::{Order, OrderEvent, OrderId, Version};
use order_store::{OrderStore, Refusal, Request, StoreError};
use tokio::task::JoinSet;

use crate::world::{World, milk, noon, on_both_databases, pieces};

const WRITERS: u64 = 10;
const CHANGES: usize = 30;

on_both_databases![
    each_answer_is_the_order_at_the_version_that_it_names,
    every_change_is_before_the_cancellation_or_refused,
    a_scheduled_order_keeps_its_last_item_and_no_order_gets_too_many,
    one_change_for_each_expected_version_is_accepted,
];

async fn each_answer_is_the_order_at_the_version_that_it_names(world: World) {
    let order = world.with_items(3).await;
    let mut writers = JoinSet::new();
    for seed in 0..WRITERS {
        writers.spawn(change_at_random(Arc::clone(&world.store), order.id(), seed));
    }
    let answers: Vec<Order> = writers.join_all().await.into_iter().flatten().collect();
    assert!(answers.len() > CHANGES, "most changes were accepted: {}", answers.len());

    let mut at_version: BTreeMap<Version, Order> = BTreeMap::new();
    let mut history: Vec<(Version, OrderEvent)> = Vec::new();
    for (version, event) in world.history(order.id()).await {
        history.push((version, event));
        let order = Order::from_events(history.iter().map(|(version, event)| (*version, event))).expect("a history");
        at_version.insert(version, order);
    }
    for answer in &answers {
        assert_eq!(at_version.get(&answer.version()), Some(answer));
    }
    assert_eq!(at_version.len(), answers.len() + 4, "each accepted change has one event, and each event one change");
    assert_eq!(Some(&world.store.get(order.id()).await.unwrap()), at_version.values().last());
}

/// Adds, changes and removes items that this or another writer added, and answers what was accepted.
async fn change_at_random(store: Arc<dyn OrderStore>, order_id: OrderId, seed: u64) -> Vec<Order> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut accepted: Vec<Order> = Vec::new();
    for _ in 0..CHANGES {
        let known = accepted.last().and_then(|order| random.choice(order.items())).map(order_domain::Item::id);
        let answer = match (random.u8(0..6), known) {
            (0 | 1, Some(item)) => {
                store.change_quantity(order_id, item, pieces(random.u16(1..=999)), Request::new()).await
            }
            (2, Some(item)) => store.remove_item(order_id, item, Request::new()).await,
            (3, _) => store.schedule(order_id, noon(), Request::new()).await,
            _ => store.add_item(order_id, milk(random.u16(1..=9)), Request::new()).await,
        };
        match answer {
            Ok(order) => accepted.push(order),
            Err(StoreError::Refused(Refusal::ItemNotFound | Refusal::LastItem | Refusal::OrderEmpty)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    accepted
}

async fn every_change_is_before_the_cancellation_or_refused(world: World) {
    for round in 0..12 {
        let order = world.create().await;
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let (store, id) = (Arc::clone(&world.store), order.id());
            writers.spawn(async move {
                let mut accepted = 0_usize;
                loop {
                    match store.add_item(id, milk(1), Request::new()).await {
                        Ok(_) => accepted += 1,
                        Err(StoreError::Refused(Refusal::OrderCancelled { at_version })) => {
                            return (accepted, at_version);
                        }
                        Err(StoreError::Refused(Refusal::TooManyItems { .. })) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
        // Somewhere in the middle: the cancellation is one more change among theirs.
        while world.store.get(order.id()).await.unwrap().items().len() < round {}
        let cancelled = world.store.cancel(order.id(), Request::new()).await.unwrap();
        let refusals = writers.join_all().await;
        let accepted: usize = refusals.iter().map(|(accepted, _)| accepted).sum();
        assert!(refusals.iter().all(|(_, at_version)| *at_version == cancelled.version()), "{refusals:?}");
        assert_eq!(cancelled.items().len(), accepted, "nothing after the cancellation");
        assert_eq!(world.store.get(order.id()).await.unwrap(), cancelled);
        assert_eq!(world.replayed(order.id()).await, cancelled);
    }
}

async fn a_scheduled_order_keeps_its_last_item_and_no_order_gets_too_many(world: World) {
    let order = world.scheduled(6).await;
    let removals = order.items().iter().map(|item| world.store.remove_item(order.id(), item.id(), Request::new()));
    let answers = futures::future::join_all(removals).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5);
    let refused = answers.into_iter().find_map(Result::err);
    assert!(matches!(refused, Some(StoreError::Refused(Refusal::LastItem))), "{refused:?}");

    let order = world.with_items(195).await;
    let additions = (0..10).map(|_| world.store.add_item(order.id(), milk(1), Request::new()));
    let answers = futures::future::join_all(additions).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5);
    let refused =
        |answer: &Result<_, _>| matches!(answer, Err(StoreError::Refused(Refusal::TooManyItems { limit: 200 })));
    assert!(answers.iter().all(|answer| answer.is_ok() || refused(answer)), "{answers:?}");
}

async fn one_change_for_each_expected_version_is_accepted(world: World) {
    let order = world.create().await;
    for number in 1..=10 {
        let expected = crate::world::version(number);
        let requests = (0..8).map(|_| world.store.add_item(order.id(), milk(1), Request::new().expecting(expected)));
        let answers = futures::future::join_all(requests).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        for refused in answers.into_iter().filter_map(Result::err) {
            let conflict = matches!(refused, StoreError::Refused(Refusal::VersionConflict { expected: refusals, actual })
                if refusals == expected && actual > expected);
            assert!(conflict, "{refused:?}");
        }
    }
}
