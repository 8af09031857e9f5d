//! What a server shows of the store's ways: round trips, retries, where rows are updated.

use std::sync::Arc;
use std::time::Duration;

use order_store::{InTransaction, OrderStore, PostgresOrderStore, Refusal, Request, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::proxy::Proxy;
use crate::world::{World, milk, nobody, noon, nothing, pieces, postgres};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_is_one_statement_and_a_refusal_is_none_more() {
    let world = World::postgres().await;
    let proxy = Proxy::before(&postgres(&world).url).await;
    let store = PostgresOrderStore::connect(&proxy.url).await.unwrap();
    let scheduled = world.scheduled(2).await;
    let (first, second) = (scheduled.items()[0].id(), scheduled.items()[1].id());
    let id = scheduled.id();
    let once = || Request::new().id("once".parse().unwrap());

    let mut before = proxy.executed();
    let mut executed = |what: &str, statements: u64| {
        assert_eq!(proxy.executed() - before, statements, "{what}");
        before = proxy.executed();
    };
    let new = order_domain::NewOrder::new(crate::world::customer(), order_domain::Currency::EUR);
    store.create(new, Request::new()).await.unwrap();
    executed("create", 1);
    store.add_item(id, milk(1), once()).await.unwrap();
    executed("add", 1);
    store.add_item(id, milk(1), once()).await.unwrap();
    executed("add, asked for again", 1);
    let bread = order_domain::NewItem::in_order_currency("bread".parse().unwrap(), pieces(1), 320).unwrap();
    store.add_item(id, bread, Request::new()).await.unwrap();
    executed("add in the order's currency", 1);
    store.change_quantity(id, first, pieces(7), Request::new()).await.unwrap();
    executed("change", 1);
    store.add_item(id, milk(1), once()).await.unwrap();
    executed("add, asked for again after another change: the history too", 2);
    store.remove_item(id, second, Request::new()).await.unwrap();
    executed("remove", 1);
    store.schedule(id, noon(), Request::new()).await.unwrap();
    executed("schedule", 1);
    store.get(id).await.unwrap();
    executed("get", 1);
    store.list_by_customer(scheduled.customer_id(), None).await.unwrap();
    executed("list", 1);
    store.remove_item(id, nothing(), Request::new()).await.unwrap_err();
    executed("refused: no such item", 1);
    store.cancel(nobody(), Request::new()).await.unwrap_err();
    executed("refused: no such order", 1);
    store.cancel(id, Request::new()).await.unwrap();
    executed("cancel", 1);
    store.add_item(id, milk(1), Request::new()).await.unwrap_err();
    executed("refused: cancelled", 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_of_orders_stay_on_their_page() {
    let world = World::postgres().await;
    for _ in 0..20 {
        let order = world.scheduled(12).await;
        world.store.cancel(order.id(), Request::new()).await.unwrap();
    }
    // A session tells its counts once it is idle, before PostgreSQL 15 only at its end.
    postgres(&world).store.close().await;
    let updates = "select coalesce(n_tup_upd, 0) from pg_stat_user_tables where relname = 'orders'";
    while world.number(updates).await < 20 * 14 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let share = "select (100 * n_tup_hot_upd / n_tup_upd)::bigint from pg_stat_user_tables where relname = 'orders'";
    let share = world.number(share).await;
    assert!(share > 90, "{share} % of the updates of orders were heap-only");
}

/// Above READ COMMITTED an overtaken change is refused as a serialization failure, and tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serialization_failures_are_tried_again() {
    for isolation in ["repeatable read", "serializable"] {
        let world = World::postgres_at(isolation).await;
        let order = world.create().await;
        let mut other = postgres(&world).pool.begin().await.unwrap();
        InTransaction::new(&mut *other).add_item(order.id(), milk(1), Request::new()).await.unwrap();
        let (store, id) = (Arc::clone(&world.store), order.id());
        let waiting = tokio::spawn(async move { store.add_item(id, milk(2), Request::new()).await });
        let waits =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while world.number(waits).await == 0 {}
        // The change that waits has a snapshot without this one.
        other.commit().await.unwrap();
        let order = waiting.await.unwrap().expect("tried again");
        assert_eq!(order.items().len(), 2);
        assert_eq!(world.replayed(order.id()).await, order);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_with_another_program_is_tried_again() {
    let world = World::postgres().await;
    let order = world.with_items(1).await;
    let item = order.items()[0].id();
    // The other program goes against the order of locks: items first. It is the administrator's session, since only such a
    // one may leave the detection to others.
    let mut other = PgConnection::connect(&postgres(&world).admin_url()).await.unwrap();
    other.execute("set deadlock_timeout = '1min'").await.unwrap();
    let mut holding = other.begin().await.unwrap();
    holding
        .execute(AssertSqlSafe(format!("select from order_items where item_id = '{item}' for update")))
        .await
        .unwrap();

    let (store, id) = (Arc::clone(&world.store), order.id());
    let waiting = tokio::spawn(async move { store.change_quantity(id, item, pieces(9), Request::new()).await });
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while world.number(waits).await == 0 {}
    let step = format!("update orders set version = version + 1 where order_id = '{id}'");
    holding.execute(AssertSqlSafe(step)).await.expect("the store is the one that gives way");
    holding.rollback().await.unwrap();

    let changed = waiting.await.unwrap().expect("tried again");
    assert_eq!((changed.version().get(), changed.items()[0].quantity()), (3, pieces(9)));
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    while world.number(deadlocks).await == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_callers_transaction_a_serialization_failure_asks_for_all_of_it_again() {
    let world = World::postgres().await;
    let order = world.create().await;
    let mut connection = PgConnection::connect(&postgres(&world).url).await.unwrap();
    let mut transaction = connection.begin_with("begin isolation level repeatable read").await.unwrap();
    InTransaction::new(&mut *transaction).get(order.id()).await.unwrap();
    world.store.add_item(order.id(), milk(1), Request::new()).await.unwrap();
    let conflict = InTransaction::new(&mut *transaction).add_item(order.id(), milk(1), Request::new()).await;
    assert!(matches!(conflict, Err(StoreError::Conflict { .. })), "{conflict:?}");
    transaction.rollback().await.unwrap();

    let mut transaction = connection.begin_with("begin isolation level repeatable read").await.unwrap();
    let added = InTransaction::new(&mut *transaction).add_item(order.id(), milk(1), Request::new()).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(world.store.get(order.id()).await.unwrap(), added);
}

/// The other one holds the order and changes it: the change in the caller's transaction waits, and then sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_callers_transaction_a_change_waits_and_is_never_overtaken() {
    let world = World::postgres().await;
    let order = world.with_items(1).await;
    let item = order.items()[0].id();
    let mut other = postgres(&world).pool.begin().await.unwrap();
    InTransaction::new(&mut *other).remove_item(order.id(), item, Request::new()).await.unwrap();

    let (pool, id) = (postgres(&world).pool.clone(), order.id());
    let waiting = tokio::spawn(async move {
        let mut transaction = pool.begin().await.unwrap();
        let mut orders = InTransaction::new(&mut *transaction);
        let gone = orders.change_quantity(id, item, pieces(2), Request::new()).await;
        assert!(matches!(gone, Err(StoreError::Refused(Refusal::ItemNotFound))), "{gone:?}");
        let added = orders.add_item(id, milk(1), Request::new()).await.unwrap();
        transaction.commit().await.unwrap();
        added
    });
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while world.number(waits).await == 0 {}
    other.commit().await.unwrap();
    let added = waiting.await.unwrap();
    assert_eq!((added.version().get(), added.items().len()), (4, 1));
    assert_eq!(world.replayed(order.id()).await, added);
}
