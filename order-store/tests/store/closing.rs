//! How a store ends: what is under way has its answer, and nothing stays open.

use std::time::Duration;

use order_domain::{Currency, NewOrder};
use order_store::{OrderStore, PostgresOrderStore, Request, SqliteOrderStore, StoreError};
use tokio::task::JoinSet;

use crate::world::{Database, World, customer};

const WRITERS: usize = 8;
const ORDERS: &str = "select count(*) from orders";
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn new_order() -> NewOrder {
    NewOrder::new(customer(), Currency::EUR)
}

/// Each writer creates orders until it is refused, and tells how many were accepted.
fn writers<S: OrderStore + Clone + 'static>(store: &S) -> JoinSet<(i64, StoreError)> {
    let writer = |store: S| async move {
        let mut accepted = 0;
        loop {
            match store.create(new_order(), Request::new()).await {
                Ok(_) => accepted += 1,
                Err(error) => return (accepted, error),
            }
        }
    };
    (0..WRITERS).map(|_| writer(store.clone())).collect()
}

async fn accepted_until_unavailable(writers: JoinSet<(i64, StoreError)>) -> i64 {
    let ends = writers.join_all().await;
    for (_, error) in &ends {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }
    ends.iter().map(|(accepted, _)| accepted).sum()
}

async fn more_than(world: &World, query: &str, number: i64) {
    let waiting = async {
        while world.number(query).await <= number {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect(query);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_has_answered_what_was_under_way_and_left_the_server() {
    let world = World::postgres().await;
    let Database::Postgres(postgres) = &world.database else { unreachable!("a world on PostgreSQL") };
    let url = format!("{}?application_name=to_be_closed", postgres.url);
    let store = PostgresOrderStore::connect(&url).await.unwrap();
    let writing = writers(&store);
    more_than(&world, ORDERS, 0).await;
    store.close().await;
    let accepted = accepted_until_unavailable(writing).await;
    assert_eq!(world.number(ORDERS).await, accepted);
    // A session ends a little after its client has left.
    let sessions = "select -count(*) from pg_stat_activity
                     where application_name = 'to_be_closed' and datname = current_database()";
    more_than(&world, sessions, -1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_file_is_one_file_with_all_that_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let store = SqliteOrderStore::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    store.migrate().await.unwrap();
    let first = store.create(new_order(), Request::new()).await.unwrap();
    let writing = writers(&store);
    let some = async {
        let of_anybody = || sqlx::query_scalar::<_, i64>(ORDERS).fetch_one(store.writer());
        while of_anybody().await.unwrap() < 2 {
            store.get(first.id()).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, some).await.expect("writers that write");
    store.close().await;
    let accepted = accepted_until_unavailable(writing).await;
    let unread = store.get(first.id()).await.unwrap_err();
    assert!(matches!(unread, StoreError::Unavailable { .. }), "{unread:?}");

    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["orders.db"]);
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    let copied = SqliteOrderStore::connect(&format!("sqlite:{}?mode=rw", copy.display())).await.unwrap();
    let orders: i64 = sqlx::query_scalar(ORDERS).fetch_one(copied.writer()).await.unwrap();
    assert_eq!(orders, 1 + accepted);
}
