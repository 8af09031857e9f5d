//! A connection that is lost during a change: the outcome is unknown, never failed, and the same request id finds out.

use std::time::Duration;

use order_domain::{Currency, NewOrder, OrderId};
use order_store::{OrderStore, PostgresOrderStore, Request, RequestId, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::proxy::{Cut, Proxy};
use crate::world::{World, customer, milk, postgres, version};

fn id(text: &str) -> Request {
    Request::new().id(RequestId::new(text).expect("a request id"))
}

async fn behind_a_proxy() -> (World, Proxy, PostgresOrderStore) {
    let world = World::postgres().await;
    let proxy = Proxy::before(&postgres(&world).url).await;
    let store = PostgresOrderStore::connect(&proxy.url).await.expect("the database through the proxy");
    (world, proxy, store)
}

/// The statement is prepared by now, so that the next message that the proxy could cut is its execution.
async fn used(store: &PostgresOrderStore, order_id: OrderId) {
    for _ in 0..3 {
        store.add_item(order_id, milk(1), Request::new()).await.expect("an item");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_after_the_commit_is_unknown_and_found_out() {
    let (world, proxy, store) = behind_a_proxy().await;
    let order = world.create().await;
    used(&store, order.id()).await;
    proxy.cut(Cut::AfterCommit);
    let lost = store.add_item(order.id(), milk(7), id("add")).await;
    assert!(matches!(lost, Err(StoreError::Unknown { .. })), "{lost:?}");
    assert_eq!(proxy.cuts(), 1);
    assert_eq!(world.events(order.id()).await.len(), 5, "it had happened");

    let found_out = store.add_item(order.id(), milk(7), id("add")).await.unwrap();
    assert_eq!((found_out.version(), found_out.items().len()), (version(5), 4));
    assert_eq!(world.events(order.id()).await.len(), 5, "and happened once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_lost_before_it_is_executed_is_unknown_and_done_when_asked_again() {
    let (world, proxy, store) = behind_a_proxy().await;
    let order = world.create().await;
    used(&store, order.id()).await;
    proxy.cut(Cut::BeforeExecution);
    let lost = store.add_item(order.id(), milk(7), id("add")).await;
    assert!(matches!(lost, Err(StoreError::Unknown { .. })), "{lost:?}");
    assert_eq!(world.events(order.id()).await.len(), 4, "it had not happened");

    let done = store.add_item(order.id(), milk(7), id("add")).await.unwrap();
    assert_eq!((done.version(), done.items().len()), (version(5), 4));
    assert_eq!(store.add_item(order.id(), milk(7), id("add")).await.unwrap(), done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_order_whose_answer_is_lost_is_found_by_its_request_id() {
    let (world, proxy, store) = behind_a_proxy().await;
    let new = NewOrder::new(customer(), Currency::EUR);
    // The statement is prepared by then, so that the next message that the proxy could cut is its execution.
    store.create(NewOrder::new(customer(), Currency::EUR), Request::new()).await.unwrap();
    proxy.cut(Cut::AfterCommit);
    let lost = store.create(new, id("create")).await;
    assert_eq!(proxy.cuts(), 1);
    assert!(matches!(lost, Err(StoreError::Unknown { .. })), "{lost:?}");
    let order = store.create(new, id("create")).await.unwrap();
    assert_eq!(world.store.list_by_customer(new.customer_id(), None).await.unwrap().orders, [order]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_lost_is_unavailable_and_not_unknown() {
    let (world, proxy, store) = behind_a_proxy().await;
    let order = world.create().await;
    store.get(order.id()).await.unwrap();
    proxy.cut(Cut::BeforeExecution);
    let lost = store.get(order.id()).await;
    assert!(matches!(lost, Err(StoreError::Unavailable { .. })), "{lost:?}");
    assert_eq!(store.get(order.id()).await.unwrap(), order);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_takes_too_long_is_unknown_and_found_out() {
    let world = World::postgres().await;
    let order = world.create().await;
    let mut other = PgConnection::connect(&postgres(&world).url).await.unwrap();
    let mut holding = other.begin().await.unwrap();
    // The lock of a table is waited for before the statement can limit its waits.
    holding.execute("lock table order_requests in access exclusive mode").await.unwrap();

    let store = postgres(&world).store.clone().patience(Duration::from_millis(300));
    let slow = store.add_item(order.id(), milk(1), id("add")).await;
    assert!(matches!(slow, Err(StoreError::Unknown { .. })), "{slow:?}");
    holding.rollback().await.unwrap();
    // Whether the server still does the first one or notices that its client is gone: one of the two is done.
    let done = world.store.add_item(order.id(), milk(1), id("add")).await.unwrap();
    assert_eq!((done.version(), done.items().len()), (version(2), 1));
    assert_eq!(world.replayed(order.id()).await, done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_the_session_leaves_the_change_unknown_and_the_store_usable() {
    let world = World::postgres().await;
    let order = world.create().await;
    let mut other = PgConnection::connect(&postgres(&world).url).await.unwrap();
    let mut holding = other.begin().await.unwrap();
    let lock = format!("select from orders where order_id = '{}' for update", order.id());
    holding.execute(AssertSqlSafe(lock)).await.unwrap();

    let store = postgres(&world).store.clone();
    let order_id = order.id();
    let waiting = tokio::spawn(async move { store.add_item(order_id, milk(1), id("add")).await });
    let waits = "select coalesce(max(pid), 0)::bigint from pg_stat_activity
                  where datname = current_database() and wait_event_type = 'Lock'";
    let mut waiting_pid = 0;
    while waiting_pid == 0 {
        waiting_pid = world.number(waits).await;
    }
    assert_eq!(world.number(&format!("select pg_terminate_backend({waiting_pid})::int::bigint")).await, 1);
    let ended = waiting.await.unwrap();
    assert!(matches!(ended, Err(StoreError::Unknown { .. })), "{ended:?}");
    holding.rollback().await.unwrap();
    let done = world.store.add_item(order_id, milk(1), id("add")).await.unwrap();
    assert_eq!(done.version(), version(2));
}
