//! Changes inside a transaction of the caller's.

use order_domain::{Currency, NewOrder};
use order_store::{InTransaction, OrderConnection, Refusal, Request, RequestId, StoreError};
use sqlx::Connection as _;

use crate::world::{Database, World, customer, milk, nobody, noon, on_both_databases, pieces, version};

on_both_databases![
    what_the_caller_commits_is_there_and_what_is_rolled_back_is_not,
    a_refusal_leaves_the_callers_transaction_going,
    several_changes_of_several_orders_commit_together,
    a_request_id_counts_once_the_transaction_commits,
];

/// Runs the body in a transaction of each database's own kind, then commits or rolls back.
macro_rules! in_transaction {
    ($world:expr, commit: $commit:expr, |$orders:ident| $body:expr) => {
        match &$world.database {
            Database::Postgres(postgres) => {
                let mut transaction = postgres.pool.begin().await.expect("a transaction");
                let answer = {
                    let mut $orders = InTransaction::new(&mut *transaction);
                    $body
                };
                if $commit { transaction.commit().await } else { transaction.rollback().await }.expect("an end");
                answer
            }
            Database::Sqlite(sqlite) => {
                let mut connection = sqlite.connect().await.expect("the file");
                let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");
                let answer = {
                    let mut $orders = InTransaction::new(&mut *transaction);
                    $body
                };
                if $commit { transaction.commit().await } else { transaction.rollback().await }.expect("an end");
                answer
            }
        }
    };
}

async fn what_the_caller_commits_is_there_and_what_is_rolled_back_is_not(world: World) {
    let order = world.create().await;
    let added = in_transaction!(world, commit: false, |orders| {
        orders.add_item(order.id(), milk(1), Request::new()).await.unwrap()
    });
    assert_eq!(added.version(), version(2));
    assert_eq!(world.store.get(order.id()).await.unwrap(), order);
    assert_eq!(world.events(order.id()).await.len(), 1);

    let added = in_transaction!(world, commit: true, |orders| {
        let added = orders.add_item(order.id(), milk(1), Request::new()).await.unwrap();
        assert_eq!(orders.get(order.id()).await.unwrap(), added, "the transaction sees its own changes");
        added
    });
    assert_eq!(world.store.get(order.id()).await.unwrap(), added);
    assert_eq!(world.replayed(order.id()).await, added);
}

async fn a_refusal_leaves_the_callers_transaction_going(world: World) {
    let (order, cancelled) = (world.scheduled(1).await, world.cancelled().await);
    let last = order.items()[0].id();
    let added = in_transaction!(world, commit: true, |orders| {
        let since = Refusal::OrderCancelled { at_version: cancelled.version() };
        assert_eq!(refused(orders.add_item(cancelled.id(), milk(1), Request::new()).await), since);
        assert_eq!(refused(orders.remove_item(order.id(), last, Request::new()).await), Refusal::LastItem);
        assert_eq!(refused(orders.cancel(nobody(), Request::new()).await), Refusal::OrderNotFound);
        assert_eq!(refused(orders.get(nobody()).await), Refusal::OrderNotFound);
        let conflict = Refusal::VersionConflict { expected: version(9), actual: version(3) };
        assert_eq!(refused(orders.cancel(order.id(), Request::new().expecting(version(9))).await), conflict);
        orders.add_item(order.id(), milk(1), Request::new()).await.unwrap()
    });
    assert_eq!(world.store.get(order.id()).await.unwrap(), added);
    assert_eq!(world.store.get(cancelled.id()).await.unwrap(), cancelled);
}

async fn several_changes_of_several_orders_commit_together(world: World) {
    let customer = customer();
    let (first, second) = in_transaction!(world, commit: true, |orders| every_change(&mut orders, customer).await);
    assert_eq!(world.store.get(first.id()).await.unwrap(), first);
    assert_eq!(world.store.get(second.id()).await.unwrap(), second);
    assert_eq!(world.replayed(first.id()).await, first);
    assert_eq!(world.replayed(second.id()).await, second);
}

async fn every_change<C: OrderConnection>(
    orders: &mut InTransaction<'_, C>,
    customer: order_domain::CustomerId,
) -> (order_domain::Order, order_domain::Order) {
    let first = orders.create(NewOrder::new(customer, Currency::EUR), Request::new()).await.unwrap();
    let second = orders.create(NewOrder::new(customer, Currency::EUR), Request::new()).await.unwrap();
    let first = orders.add_item(first.id(), milk(1), Request::new()).await.unwrap();
    let item = first.items()[0].id();
    orders.change_quantity(first.id(), item, pieces(3), Request::new()).await.unwrap();
    orders.add_item(first.id(), milk(2), Request::new()).await.unwrap();
    let second = orders.add_item(second.id(), milk(1), Request::new()).await.unwrap();
    orders.schedule(first.id(), noon(), Request::new()).await.unwrap();
    orders.remove_item(first.id(), item, Request::new()).await.unwrap();
    let first = orders.cancel(first.id(), Request::new()).await.unwrap();
    let listed = orders.list_by_customer(customer, None).await.unwrap().orders;
    assert_eq!(listed, [second.clone(), first.clone()]);
    (first, second)
}

async fn a_request_id_counts_once_the_transaction_commits(world: World) {
    let order = world.create().await;
    let request = || Request::new().id(RequestId::new("add").unwrap());
    in_transaction!(world, commit: false, |orders| {
        orders.add_item(order.id(), milk(1), request()).await.unwrap();
    });
    let added = in_transaction!(world, commit: true, |orders| {
        let added = orders.add_item(order.id(), milk(1), request()).await.unwrap();
        assert_eq!(orders.add_item(order.id(), milk(1), request()).await.unwrap(), added);
        added
    });
    assert_eq!(world.store.add_item(order.id(), milk(1), request()).await.unwrap(), added);
    assert_eq!(world.events(order.id()).await.len(), 2);
}

fn refused<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> Refusal {
    match answer {
        Err(StoreError::Refused(refusal)) => refusal,
        answer => panic!("not refused: {answer:?}"),
    }
}
