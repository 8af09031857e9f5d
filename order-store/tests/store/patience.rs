//! One deadline for a request, a server that stops with it, and an order that is locked and keeps nobody else waiting.

use std::sync::Arc;
use std::time::Duration;

use order_store::{OrderStore, PostgresOrderStore, Request, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Transaction};
use tokio::task::JoinSet;

use crate::world::{World, milk, postgres, version};

const WAITING: &str =
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

/// Waits until this many sessions of the database wait for a lock.
async fn until_waiting(world: &World, sessions: i64) {
    while world.number(WAITING).await != sessions {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Locks the order's row until the transaction ends.
async fn lock<'c>(connection: &'c mut PgConnection, order: &order_domain::Order) -> Transaction<'c, sqlx::Postgres> {
    let mut holding = connection.begin().await.unwrap();
    let lock = format!("select from orders where order_id = '{}' for update", order.id());
    holding.execute(AssertSqlSafe(lock)).await.unwrap();
    holding
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_gave_up_waiting_for_a_lock_is_never_made() {
    let world = World::postgres().await;
    let order = world.create().await;
    let mut other = PgConnection::connect(&postgres(&world).url).await.unwrap();
    let holding = lock(&mut other, &order).await;
    let store = postgres(&world).store.clone().patience(Duration::from_secs(1));
    let slow = store.add_item(order.id(), milk(1), Request::new()).await;
    assert!(matches!(slow, Err(StoreError::Unavailable { .. })), "{slow:?}");
    until_waiting(&world, 0).await;
    holding.rollback().await.unwrap();
    assert_eq!(world.store.get(order.id()).await.unwrap(), order);
    assert_eq!(store.add_item(order.id(), milk(1), Request::new()).await.unwrap().version(), version(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_caller_left_stops_at_the_server() {
    let world = World::postgres().await;
    let order = world.create().await;
    let mut other = PgConnection::connect(&postgres(&world).url).await.unwrap();
    let holding = lock(&mut other, &order).await;
    let (store, id) = (Arc::clone(&world.store), order.id());
    let left = tokio::spawn(async move { store.add_item(id, milk(1), Request::new()).await });
    until_waiting(&world, 1).await;
    left.abort();
    until_waiting(&world, 0).await;
    holding.rollback().await.unwrap();
    assert_eq!(world.store.get(order.id()).await.unwrap(), order);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_patience_nothing_is_sent() {
    for world in [World::postgres().await, World::sqlite().await] {
        let order = world.create().await;
        let answer = match &world.database {
            crate::world::Database::Postgres(postgres) => {
                let store = postgres.store.clone().patience(Duration::ZERO);
                // A connection that is idle is ready at the deadline too.
                postgres.store.close().await;
                store.add_item(order.id(), milk(1), Request::new()).await
            }
            crate::world::Database::Sqlite(sqlite) => {
                let taken = sqlite.store.writer().acquire().await.unwrap();
                let store = sqlite.store.clone().patience(Duration::ZERO);
                let answer = store.add_item(order.id(), milk(1), Request::new()).await;
                drop(taken);
                answer
            }
        };
        assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
        assert_eq!(world.events(order.id()).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_locked_keeps_nobody_else_waiting() {
    const CHANGES: usize = 12;
    let world = World::postgres().await;
    let (hot, other_order) = (world.create().await, world.create().await);
    let mut other = PgConnection::connect(&postgres(&world).url).await.unwrap();
    let holding = lock(&mut other, &hot).await;
    let mut changes = JoinSet::new();
    for _ in 0..CHANGES {
        let (store, id) = (Arc::clone(&world.store), hot.id());
        changes.spawn(async move { store.add_item(id, milk(1), Request::new()).await });
    }
    until_waiting(&world, 2).await;
    for round in 0..CHANGES {
        assert_eq!(world.store.get(hot.id()).await.unwrap(), hot);
        let changed = world.store.add_item(other_order.id(), milk(1), Request::new()).await.unwrap();
        assert_eq!(changed.items().len(), round + 1);
    }
    assert!(changes.try_join_next().is_none(), "all of them wait");
    assert_eq!(world.number(WAITING).await, 2, "two for the lock, the others for their turn");
    holding.rollback().await.unwrap();
    for changed in changes.join_all().await {
        changed.unwrap();
    }
    assert_eq!(world.events(hot.id()).await.len(), CHANGES + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_orders_that_are_locked_leave_connections_to_reads() {
    let world = World::postgres().await;
    let mut orders = Vec::new();
    for _ in 0..10 {
        orders.push(world.create().await);
    }
    let mut other = PgConnection::connect(&postgres(&world).url).await.unwrap();
    let mut holding = other.begin().await.unwrap();
    holding.execute("select from orders for update").await.unwrap();
    let mut changes = JoinSet::new();
    for order in &orders {
        let (store, id) = (Arc::clone(&world.store), order.id());
        changes.spawn(async move { store.cancel(id, Request::new()).await });
    }
    until_waiting(&world, 8).await;
    for order in &orders {
        assert_eq!(world.store.get(order.id()).await.unwrap(), *order);
    }
    holding.rollback().await.unwrap();
    for cancelled in changes.join_all().await {
        cancelled.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_the_role_stays() {
    let world = World::postgres().await;
    let order = world.create().await;
    world.set("lock_timeout", "50ms").await;
    let mut other = PgConnection::connect(&postgres(&world).url).await.unwrap();
    let holding = lock(&mut other, &order).await;
    let store = PostgresOrderStore::connect(&postgres(&world).url).await.unwrap().patience(Duration::MAX);
    let slow = store.add_item(order.id(), milk(1), Request::new()).await;
    assert!(matches!(slow, Err(StoreError::Unavailable { .. })), "{slow:?}");
    holding.rollback().await.unwrap();
}
