//! What every store does: the changes, their answers, their events, their refusals.

use order_domain::{Command, Currency, ItemId, Money, NewItem, NewOrder, OrderStatus, Sku};
use order_store::{Cursor, ORDERS_PER_PAGE, OrderStore, Refusal, Request, StoreError};
use uuid::Uuid;

use crate::world::{World, customer, milk, nobody, noon, nothing, on_both_databases, pieces, version, window};

on_both_databases![
    a_new_order_is_open_and_has_version_1,
    every_change_takes_the_next_version_and_answers_the_order_as_it_left_it,
    an_item_can_be_added_under_an_id_of_the_callers_choice,
    an_item_without_a_currency_takes_the_orders,
    a_cancelled_order_refuses_every_change_and_says_since_when,
    missing_orders_and_items_are_refused_as_not_found,
    the_rules_of_the_domain_are_refused_by_name,
    a_change_that_expects_another_version_is_refused,
    a_cancelled_order_is_refused_as_such_before_its_version_is_compared,
    a_refused_change_leaves_no_trace,
    a_trace_context_goes_into_the_outbox,
    a_customers_orders_come_in_pages_the_newest_first,
    many_orders_and_customers_do_not_mix,
];

fn refused<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> Refusal {
    match answer {
        Err(StoreError::Refused(refusal)) => refusal,
        answer => panic!("not refused: {answer:?}"),
    }
}

async fn a_new_order_is_open_and_has_version_1(world: World) {
    let customer = customer();
    let order = world.store.create(NewOrder::new(customer, Currency::JPY), Request::new()).await.unwrap();
    assert_eq!((order.customer_id(), order.currency()), (customer, Currency::JPY));
    assert_eq!((order.status(), order.version()), (OrderStatus::Open, version(1)));
    assert_eq!((order.items().len(), order.delivery_window()), (0, None));
    assert_eq!(order.id().as_uuid().get_version_num(), 7);
    assert_eq!(world.store.get(order.id()).await.unwrap(), order);
    assert_eq!(world.replayed(order.id()).await, order);
}

async fn every_change_takes_the_next_version_and_answers_the_order_as_it_left_it(world: World) {
    let order = world.create().await;
    let id = order.id();
    let order = world.store.add_item(id, milk(2), Request::new()).await.unwrap();
    let first = order.items()[0].id();
    let free = NewItem::new(Sku::new("bread/rye_1.5-kg").unwrap(), pieces(999), Money::zero(Currency::EUR));
    let order = world.store.add_item(order.id(), free, Request::new()).await.unwrap();
    assert_eq!((order.version(), order.items().len()), (version(3), 2));
    let order = world.store.change_quantity(id, first, pieces(7), Request::new()).await.unwrap();
    assert_eq!((order.version(), order.item(first).unwrap().quantity()), (version(4), pieces(7)));
    let order = world.store.schedule(id, noon(), Request::new()).await.unwrap();
    assert_eq!((order.status(), order.delivery_window()), (OrderStatus::Scheduled, Some(noon())));
    let later = window("2026-10-03T12:00:00Z", "2026-10-03T12:00:00.000001Z");
    let order = world.store.schedule(id, later, Request::new()).await.unwrap();
    assert_eq!((order.version(), order.delivery_window()), (version(6), Some(later)));
    let order = world.store.remove_item(id, first, Request::new()).await.unwrap();
    assert_eq!((order.version(), order.items().len()), (version(7), 1));
    let order = world.store.cancel(id, Request::new()).await.unwrap();
    assert_eq!((order.version(), order.status()), (version(8), OrderStatus::Cancelled));
    assert_eq!(order.delivery_window(), Some(later), "a cancelled order keeps its window");

    assert_eq!(world.store.get(id).await.unwrap(), order);
    assert_eq!(world.replayed(id).await, order);
    let types: Vec<_> = world.events(id).await.into_iter().map(|event| event.event_type).collect();
    let expected = [
        "created",
        "item_added",
        "item_added",
        "item_quantity_changed",
        "scheduled",
        "scheduled",
        "item_removed",
        "cancelled",
    ];
    assert_eq!(types, expected);
}

async fn an_item_without_a_currency_takes_the_orders(world: World) {
    let request = || Request::new().id("bread".parse().unwrap());
    for currency in [Currency::EUR, Currency::JPY] {
        let order = world.store.create(NewOrder::new(customer(), currency), Request::new()).await.unwrap();
        let bread = NewItem::in_order_currency(Sku::new("bread").unwrap(), pieces(3), 320).unwrap();
        let order = world.store.add_item(order.id(), bread, Request::new()).await.unwrap();
        assert_eq!(order.items()[0].unit_price(), Money::from_minor(320, currency).unwrap());
        assert_eq!(world.store.get(order.id()).await.unwrap(), order);
        assert_eq!(world.replayed(order.id()).await, order, "the event names the currency");
    }
    let order = world.cancelled().await;
    let bread = || NewItem::in_order_currency(Sku::new("bread").unwrap(), pieces(3), 320).unwrap();
    let since = Refusal::OrderCancelled { at_version: order.version() };
    assert_eq!(refused(world.store.add_item(order.id(), bread(), Request::new()).await), since);
    assert_eq!(refused(world.store.add_item(nobody(), bread(), Request::new()).await), Refusal::OrderNotFound);
    let order = world.create().await;
    let added = world.store.add_item(order.id(), bread(), request()).await.unwrap();
    assert_eq!(world.store.add_item(order.id(), bread(), request()).await.unwrap(), added, "asked for again");
}

async fn an_item_can_be_added_under_an_id_of_the_callers_choice(world: World) {
    let order = world.create().await;
    let item_id = ItemId::from(Uuid::now_v7());
    let add = Command::AddItem { item_id, item: milk(1) };
    let order = world.store.change(order.id(), add.clone(), Request::new()).await.unwrap();
    assert_eq!(order.items()[0].id(), item_id);
    assert_eq!(refused(world.store.change(order.id(), add, Request::new()).await), Refusal::ItemExists);
}

async fn a_cancelled_order_refuses_every_change_and_says_since_when(world: World) {
    let order = world.cancelled().await;
    let (id, item) = (order.id(), order.items()[0].id());
    let since = Refusal::OrderCancelled { at_version: version(4) };
    let store = &world.store;
    assert_eq!(refused(store.add_item(id, milk(1), Request::new()).await), since);
    assert_eq!(refused(store.change_quantity(id, item, pieces(1), Request::new()).await), since);
    assert_eq!(refused(store.remove_item(id, item, Request::new()).await), since);
    assert_eq!(refused(store.schedule(id, noon(), Request::new()).await), since);
    let already = Refusal::AlreadyCancelled { at_version: version(4) };
    assert_eq!(refused(store.cancel(id, Request::new()).await), already);
    assert_eq!(store.get(id).await.unwrap(), order);
    assert_eq!(world.events(id).await.len(), 4);
}

async fn missing_orders_and_items_are_refused_as_not_found(world: World) {
    let store = &world.store;
    assert_eq!(refused(store.get(nobody()).await), Refusal::OrderNotFound);
    assert_eq!(refused(store.add_item(nobody(), milk(1), Request::new()).await), Refusal::OrderNotFound);
    assert_eq!(
        refused(store.change_quantity(nobody(), nothing(), pieces(1), Request::new()).await),
        Refusal::OrderNotFound
    );
    assert_eq!(refused(store.remove_item(nobody(), nothing(), Request::new()).await), Refusal::OrderNotFound);
    assert_eq!(refused(store.schedule(nobody(), noon(), Request::new()).await), Refusal::OrderNotFound);
    assert_eq!(refused(store.cancel(nobody(), Request::new()).await), Refusal::OrderNotFound);

    let order = world.with_items(1).await;
    assert_eq!(
        refused(store.change_quantity(order.id(), nothing(), pieces(1), Request::new()).await),
        Refusal::ItemNotFound
    );
    assert_eq!(refused(store.remove_item(order.id(), nothing(), Request::new()).await), Refusal::ItemNotFound);
}

async fn the_rules_of_the_domain_are_refused_by_name(world: World) {
    let store = &world.store;
    let empty = world.create().await;
    assert_eq!(refused(store.schedule(empty.id(), noon(), Request::new()).await), Refusal::OrderEmpty);
    let yen = NewItem::new(Sku::new("tea").unwrap(), pieces(1), Money::from_minor(300, Currency::JPY).unwrap());
    let mismatch = Refusal::CurrencyMismatch { order: Currency::EUR, item: Currency::JPY };
    assert_eq!(refused(store.add_item(empty.id(), yen, Request::new()).await), mismatch);
    let scheduled = world.scheduled(1).await;
    let last = scheduled.items()[0].id();
    assert_eq!(refused(store.remove_item(scheduled.id(), last, Request::new()).await), Refusal::LastItem);
}

async fn a_change_that_expects_another_version_is_refused(world: World) {
    let order = world.with_items(1).await;
    let expecting = |number| Request::new().expecting(version(number));
    for other in [1, 3] {
        let conflict = Refusal::VersionConflict { expected: version(other), actual: version(2) };
        assert_eq!(refused(world.store.add_item(order.id(), milk(1), expecting(other)).await), conflict);
        assert_eq!(refused(world.store.cancel(order.id(), expecting(other)).await), conflict);
        // Before what the domain would say of it.
        assert_eq!(refused(world.store.remove_item(order.id(), nothing(), expecting(other)).await), conflict);
    }
    let order = world.store.add_item(order.id(), milk(1), expecting(2)).await.unwrap();
    assert_eq!(order.version(), version(3));
}

async fn a_cancelled_order_is_refused_as_such_before_its_version_is_compared(world: World) {
    let order = world.cancelled().await;
    let answer = world.store.add_item(order.id(), milk(1), Request::new().expecting(version(1))).await;
    assert_eq!(refused(answer), Refusal::OrderCancelled { at_version: order.version() });
}

async fn a_refused_change_leaves_no_trace(world: World) {
    let order = world.scheduled(1).await;
    let events = world.events(order.id()).await;
    let item = order.items()[0].id();
    refused(world.store.remove_item(order.id(), item, Request::new()).await);
    refused(world.store.cancel(order.id(), Request::new().expecting(version(1))).await);
    assert_eq!(world.store.get(order.id()).await.unwrap(), order);
    assert_eq!(world.events(order.id()).await, events);
}

async fn a_trace_context_goes_into_the_outbox(world: World) {
    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let order = world.create().await;
    world.store.add_item(order.id(), milk(1), Request::new().traceparent(TRACEPARENT)).await.unwrap();
    let count = |condition: &str| format!("select count(*) from order_events where traceparent {condition}");
    assert_eq!(world.number(&count(&format!("= '{TRACEPARENT}'"))).await, 1);
    assert_eq!(world.number(&count("is null")).await, 1);
}

async fn a_customers_orders_come_in_pages_the_newest_first(world: World) {
    let customer = customer();
    let mut orders = Vec::new();
    for _ in 0..=2 * ORDERS_PER_PAGE {
        orders.push(world.store.create(NewOrder::new(customer, Currency::EUR), Request::new()).await.unwrap());
    }
    let with_item = world.store.add_item(orders[0].id(), milk(3), Request::new()).await.unwrap();
    orders[0] = with_item;
    orders.sort_by_key(|order| std::cmp::Reverse(order.id()));

    let first = world.store.list_by_customer(customer, None).await.unwrap();
    assert_eq!(first.orders, orders[..ORDERS_PER_PAGE]);
    // One that comes meanwhile shifts no page. The cursor survives its text.
    world.store.create(NewOrder::new(customer, Currency::EUR), Request::new()).await.unwrap();
    let cursor: Cursor = first.next.unwrap().to_string().parse().unwrap();
    let second = world.store.list_by_customer(customer, Some(cursor)).await.unwrap();
    assert_eq!(second.orders, orders[ORDERS_PER_PAGE..2 * ORDERS_PER_PAGE]);
    let third = world.store.list_by_customer(customer, second.next).await.unwrap();
    assert_eq!((third.orders.as_slice(), third.next), (&orders[2 * ORDERS_PER_PAGE..], None));
}

async fn many_orders_and_customers_do_not_mix(world: World) {
    let (one, other) = (customer(), customer());
    let first = world.store.create(NewOrder::new(one, Currency::EUR), Request::new()).await.unwrap();
    let second = world.store.create(NewOrder::new(other, Currency::EUR), Request::new()).await.unwrap();
    let second = world.store.add_item(second.id(), milk(1), Request::new()).await.unwrap();
    assert_eq!(world.store.list_by_customer(one, None).await.unwrap().orders, std::slice::from_ref(&first));
    assert_eq!(world.store.list_by_customer(other, None).await.unwrap().orders, [second]);
    let empty = world.store.list_by_customer(customer(), None).await.unwrap();
    assert_eq!((empty.orders.len(), empty.next), (0, None));
    assert_eq!(world.store.get(first.id()).await.unwrap(), first);
    // A trait object answers like its store.
    let store: &dyn OrderStore = &*world.store;
    assert_eq!(store.get(first.id()).await.unwrap(), first);
}
