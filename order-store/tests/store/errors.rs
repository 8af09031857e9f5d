//! Errors: their kinds and words, without secrets.

use std::time::Duration;

use order_domain::{Currency, NewOrder};
use order_store::{InTransaction, OrderStore, PostgresOrderStore, Request, SqliteOrderStore, StoreError};
use sqlx::Connection as _;

use crate::world::{Database, World, customer, explained, milk, server};

fn new_order() -> NewOrder {
    NewOrder::new(customer(), Currency::EUR)
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_at_once() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = PostgresOrderStore::connect(&format!("postgres://me:hidden@127.0.0.1:{port}/shop")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(explained(&error).contains("refused"), "{}", explained(&error));
    assert!(!format!("{error:?} {}", explained(&error)).contains("hidden"));
}

#[tokio::test]
async fn a_wrong_password_a_missing_database_and_an_odd_url_are_a_matter_of_set_up() {
    let url = server("DATABASE_URL");
    let (_, place) = url.split_once('@').unwrap();
    let (user, _) = url.trim_start_matches("postgres://").split_once(':').unwrap();
    let wrong = PostgresOrderStore::connect(&format!("postgres://{user}:hidden@{place}")).await.unwrap_err();
    let missing = PostgresOrderStore::connect(&crate::world::of_database(&url, "there_is_none")).await.unwrap_err();
    let odd = PostgresOrderStore::connect("not a url: hidden").await.unwrap_err();
    for (error, words) in [(wrong, "password"), (missing, "there_is_none"), (odd, "")] {
        assert!(matches!(error, StoreError::Setup { .. }), "{error:?}");
        assert!(explained(&error).contains(words), "{}", explained(&error));
        assert!(!format!("{error:?} {}", explained(&error)).contains("hidden"), "{error:?}");
    }
}

#[tokio::test]
async fn a_file_that_can_not_be_opened_or_written_is_a_matter_of_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("no/such/folder/orders.db");
    let error = SqliteOrderStore::connect(&format!("sqlite:{}", nowhere.display())).await.unwrap_err();
    assert!(matches!(error, StoreError::Setup { .. }), "{error:?}");

    let path = folder.path().join("orders.db");
    let url = format!("sqlite:{}", path.display());
    SqliteOrderStore::connect(&url).await.unwrap().migrate().await.unwrap();
    let read_only = SqliteOrderStore::connect(&format!("{url}?mode=ro")).await.unwrap();
    let error = read_only.create(new_order(), Request::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Setup { .. }), "{error:?}");
    assert!(explained(&error).contains("readonly"), "{}", explained(&error));

    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "this is no database, but it is long enough to be taken for one if nobody looks at it. ".repeat(9),
    )
    .unwrap();
    let error = SqliteOrderStore::connect(&format!("sqlite:{}", text.display())).await.unwrap_err();
    assert!(matches!(error, StoreError::Setup { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_process_writes_is_waited_for() {
    let world = World::sqlite().await;
    let order = world.create().await;
    let Database::Sqlite(sqlite) = &world.database else { unreachable!("a world on SQLite") };
    let mut other = sqlite.connect().await.unwrap();
    let holding = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let (store, id) = (sqlite.store.clone(), order.id());
    let waiting = tokio::spawn(async move { store.add_item(id, milk(1), Request::new()).await });
    // Longer than SQLite itself waits, so that the attempt is refused as busy at least once and tried again.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(!waiting.is_finished());
    assert_eq!(world.store.get(order.id()).await.unwrap(), order, "who reads doesn't wait");
    holding.rollback().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().version().get(), 2);
}

#[tokio::test]
async fn in_a_callers_transaction_a_busy_file_asks_for_all_of_it_again() {
    let world = World::sqlite().await;
    let order = world.create().await;
    let Database::Sqlite(sqlite) = &world.database else { unreachable!("a world on SQLite") };
    let mut late = sqlite.connect().await.unwrap();
    // Not immediate, as it should be: it reads, another one writes, and then it may not write any more.
    let mut transaction = late.begin().await.unwrap();
    InTransaction::new(&mut *transaction).get(order.id()).await.unwrap();
    world.store.add_item(order.id(), milk(1), Request::new()).await.unwrap();
    let conflict = InTransaction::new(&mut *transaction).add_item(order.id(), milk(1), Request::new()).await;
    assert!(matches!(conflict, Err(StoreError::Conflict { .. })), "{conflict:?}");
}

#[tokio::test]
async fn an_invalid_order_is_unreadable() {
    let world = World::postgres().await;
    let order = world.create().await;
    // A currency of the right form that no country has.
    let step = format!(
        "alter table orders disable trigger orders_status_rules;
         update orders set version = 2, currency = 'QQQ' where order_id = '{id}';
         insert into order_events (order_id, version, event_type, payload) values ('{id}', 2, 'item_added', '{{}}')",
        id = order.id()
    );
    world.raw(&step).await.unwrap();
    let error = world.store.get(order.id()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { what: "currency", .. }), "{error:?}");
    let error = world.store.cancel(order.id(), Request::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { what: "currency", .. }), "{error:?}");
}

#[tokio::test]
async fn an_order_that_took_the_last_version_has_none_left() {
    let world = World::postgres().await;
    let order = world.create().await;
    let last = format!(
        "alter table orders disable trigger user; alter table order_events disable trigger user;
         alter table orders drop constraint orders_version_has_event;
         update orders set version = {} where order_id = '{}'",
        i64::MAX,
        order.id()
    );
    world.raw(&last).await.unwrap();
    let exhausted = world.store.add_item(order.id(), milk(1), Request::new()).await.unwrap_err();
    assert_eq!(exhausted.refusal(), Some(&order_store::Refusal::VersionsExhausted));
}
