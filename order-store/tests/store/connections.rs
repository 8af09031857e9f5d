//! Connections in an unknown state are thrown away: the store recovers from what they went through, without a restart.

use std::path::PathBuf;
use std::time::Duration;

use order_domain::{Currency, NewOrder};
use order_store::{OrderStore, PostgresOrderStore, Request, SqliteOrderStore, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use crate::world::{Database, Sqlite, World, customer, explained, milk, postgres, version};

fn sqlite(world: &World) -> &Sqlite {
    match &world.database {
        Database::Sqlite(sqlite) => sqlite,
        Database::Postgres(_) => unreachable!("a world on SQLite"),
    }
}

/// Lets the file grow no more, as a full disk does, until the connection is closed.
async fn fill(connection: &mut SqliteConnection) {
    sqlx::query_scalar::<_, i64>("pragma max_page_count = 1").fetch_one(connection).await.unwrap();
}

/// Adds items until one fails.
async fn add_until_refused(store: &SqliteOrderStore, order: &order_domain::Order) -> StoreError {
    loop {
        if let Err(error) = store.add_item(order.id(), milk(1), Request::new()).await {
            return error;
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_passes() {
    let memory = SqliteOrderStore::connect("sqlite::memory:").await.unwrap();
    memory.migrate().await.unwrap();
    let world = World::sqlite().await;
    for store in [&sqlite(&world).store, &memory] {
        let order = store.create(NewOrder::new(customer(), Currency::EUR), Request::new()).await.unwrap();
        fill(&mut store.writer().acquire().await.unwrap()).await;
        let error = add_until_refused(store, &order).await;
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(explained(&error).contains("full"), "{}", explained(&error));
        let before = store.get(order.id()).await.unwrap();
        // Connections to a database in memory share the limit.
        let room = "pragma max_page_count = 1000000";
        sqlx::query_scalar::<_, i64>(room).fetch_one(store.writer()).await.unwrap();
        let after = store.add_item(order.id(), milk(1), Request::new()).await.unwrap();
        assert_eq!(after.items().len(), before.items().len() + 1);
    }
}

#[tokio::test]
async fn a_transaction_of_a_caller_that_met_a_full_disk_leaves_the_store_usable() {
    let world = World::sqlite().await;
    let order = world.create().await;
    let store = &sqlite(&world).store;
    let mut transaction = store.writer().begin_with("BEGIN IMMEDIATE").await.unwrap();
    transaction.execute("create table notes (note text)").await.unwrap();
    fill(&mut transaction).await;
    let note = "insert into notes values (hex(randomblob(10000)))";
    while transaction.execute(note).await.is_ok() {}
    drop(transaction);
    assert_eq!(store.add_item(order.id(), milk(1), Request::new()).await.unwrap().version(), version(2));
}

#[tokio::test]
async fn a_transaction_that_a_caller_left_open_is_not_the_stores() {
    let world = World::sqlite().await;
    let order = world.create().await;
    let store = &sqlite(&world).store;
    let mut connection = store.writer().acquire().await.unwrap();
    connection.execute("begin immediate").await.unwrap();
    connection.execute("create table notes (note text)").await.unwrap();
    drop(connection);
    assert_eq!(store.add_item(order.id(), milk(1), Request::new()).await.unwrap().version(), version(2));
    assert_eq!(world.number("select count(*) from sqlite_schema where name = 'notes'").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_dropped_while_the_file_is_busy_leaves_the_store_usable() {
    let world = World::sqlite().await;
    let order = world.create().await;
    let mut other = sqlite(&world).connect().await.unwrap();
    for patience in [Duration::from_millis(1), Duration::from_millis(20), Duration::from_millis(300)] {
        let holding = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let store = sqlite(&world).store.clone().patience(patience);
        let gave_up = store.add_item(order.id(), milk(1), Request::new()).await;
        assert!(matches!(gave_up, Err(StoreError::Unavailable { .. })), "{gave_up:?}");
        holding.rollback().await.unwrap();
        let before = world.store.get(order.id()).await.unwrap();
        let after = world.store.add_item(order.id(), milk(1), Request::new()).await.unwrap();
        assert_eq!(after.items().len(), before.items().len() + 1);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_deleted_or_replaced_refuses_every_request() {
    async fn refused(store: &SqliteOrderStore, order: &order_domain::Order, what: &str) {
        let new = NewOrder::new(customer(), Currency::EUR);
        let answers = [
            store.add_item(order.id(), milk(1), Request::new()).await.map(drop),
            store.create(new, Request::new()).await.map(drop),
            store.get(order.id()).await.map(drop),
            store.list_by_customer(order.customer_id(), None).await.map(drop),
            store.forget_requests(chrono::Utc::now()).await.map(drop),
            store.migrate().await,
        ];
        for answer in answers {
            assert!(matches!(answer, Err(StoreError::FileReplaced)), "{what}: {answer:?}");
        }
    }
    for what in ["deleted", "replaced", "log deleted"] {
        let world = World::sqlite().await;
        let order = world.with_items(1).await;
        let store = &sqlite(&world).store;
        store.add_item(order.id(), milk(1), Request::new()).await.unwrap();
        let path = PathBuf::from(sqlite(&world).url.trim_start_matches("sqlite:"));
        let log = path.with_extension("db-wal");
        assert!(log.exists());
        match what {
            "deleted" => std::fs::remove_file(&path).unwrap(),
            "replaced" => {
                let copy = path.with_extension("copy");
                std::fs::copy(&path, &copy).unwrap();
                std::fs::rename(&copy, &path).unwrap();
            }
            _ => std::fs::remove_file(&log).unwrap(),
        }
        refused(store, &order, what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_a_setting_makes_read_only_are_a_matter_of_set_up() {
    let world = World::postgres().await;
    let order = world.create().await;
    world.set("default_transaction_read_only", "on").await;
    let store = PostgresOrderStore::connect(&postgres(&world).url).await.unwrap();
    let read_only = store.add_item(order.id(), milk(1), Request::new()).await.unwrap_err();
    assert!(matches!(read_only, StoreError::Setup { .. }), "{read_only:?}");
    assert!(explained(&read_only).contains("default_transaction_read_only"), "{}", explained(&read_only));
    assert_eq!(store.get(order.id()).await.unwrap(), order, "reads go on");

    // Connections from before are read-only as long as they live, like those to a server that became a standby.
    world.set("default_transaction_read_only", "off").await;
    assert_eq!(store.add_item(order.id(), milk(1), Request::new()).await.unwrap().version(), version(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_forgot_its_prepared_statements_is_replaced() {
    let world = World::postgres().await;
    let order = world.with_items(1).await;
    let pool = postgres(&world).store.pool();
    world.store.add_item(order.id(), milk(1), Request::new()).await.unwrap();
    let mut connections = Vec::new();
    for _ in 0..pool.size() {
        connections.push(pool.acquire().await.unwrap());
    }
    for mut connection in connections {
        connection.execute("deallocate all").await.unwrap();
    }
    assert_eq!(world.store.add_item(order.id(), milk(1), Request::new()).await.unwrap().items().len(), 3);
}

/// PostgreSQL 17 and later have the setting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_timeout_of_the_role_is_unavailable_and_passes() {
    let world = World::postgres().await;
    if world.number("select current_setting('server_version_num')::bigint").await < 170_000 {
        println!("SKIPPED: transaction_timeout came with PostgreSQL 17");
        return;
    }
    let order = world.create().await;
    world.set("transaction_timeout", "200ms").await;
    let store = PostgresOrderStore::connect(&postgres(&world).url).await.unwrap();
    let mut other = PgConnection::connect(&postgres(&world).url).await.unwrap();
    other.execute("set transaction_timeout = 0").await.unwrap();
    let mut holding = other.begin().await.unwrap();
    let lock = format!("select from orders where order_id = '{}' for update", order.id());
    holding.execute(AssertSqlSafe(lock)).await.unwrap();
    let ended = store.add_item(order.id(), milk(1), Request::new()).await;
    assert!(matches!(ended, Err(StoreError::Unavailable { .. })), "{ended:?}");
    holding.rollback().await.unwrap();
    assert_eq!(store.add_item(order.id(), milk(1), Request::new()).await.unwrap().version(), version(2));
}
