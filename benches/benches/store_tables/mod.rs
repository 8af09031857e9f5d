//! Databases for the store's benchmarks: made, filled with orders, and dropped again.
//!
//! They have rows and statistics from the start, as tables in use have them. A plan that is made on empty tables reads them
//! from end to end, and sessions keep it for long.

use order_domain::OrderId;
use order_store::PostgresOrderStore;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use uuid::Uuid;

/// With two items each.
const ORDERS_FROM_THE_START: u64 = 2_000;

/// A database of the server of `DATABASE_URL`, migrated, of this benchmark's own.
pub(crate) struct Database {
    /// Its URL.
    pub(crate) url: String,
    server: String,
    name: String,
}

impl Database {
    /// Creates, migrates and fills it.
    pub(crate) async fn create() -> Self {
        let server =
            std::env::var("DATABASE_URL").expect("DATABASE_URL is not set: eval \"$(scripts/services env)\" first");
        let name = format!("bench_{}", Uuid::now_v7().simple());
        let mut connection = PgConnection::connect(&server).await.expect("the server of DATABASE_URL");
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("a database");
        let (before, _) = server.rsplit_once('/').expect("a URL with a database");
        let url = format!("{before}/{name}");
        let store = PostgresOrderStore::connect(&url).await.expect("the new database");
        store.migrate().await.expect("a migrated database");
        orders(store.pool(), ORDERS_FROM_THE_START).await;
        store.close().await;
        let database = Self { url, server, name };
        for _ in 0..2 {
            database.run(ONE_ITEM_FOR_EACH_ORDER).await;
        }
        database.run("vacuum analyze").await;
        database
    }

    /// Runs these statements on a connection of their own.
    pub(crate) async fn run(&self, statements: &'static str) {
        let mut connection = PgConnection::connect(&self.url).await.expect("the new database");
        connection.execute(sqlx::raw_sql(statements)).await.expect("statements that it takes");
        connection.close().await.expect("an orderly end");
    }

    /// Drops it.
    pub(crate) async fn drop(self) {
        let mut connection = PgConnection::connect(&self.server).await.expect("the server of DATABASE_URL");
        let drop = format!("drop database {} with (force)", self.name);
        connection.execute(AssertSqlSafe(drop)).await.expect("no database");
    }
}

const ONE_ITEM_FOR_EACH_ORDER: &str = "
begin;
update orders set version = version + 1;
insert into order_items (order_id, item_id, sku, quantity, unit_price_minor)
    select order_id, gen_random_uuid(), 'milk', 1, 149 from orders;
insert into order_events (order_id, version, event_type, payload) select order_id, version, 'item_added', '{}' from orders;
commit;";

/// New orders, each with the event that created it.
pub(crate) async fn orders(pool: &PgPool, how_many: u64) -> Vec<OrderId> {
    let ids: Vec<Uuid> = (0..how_many).map(|_| Uuid::now_v7()).collect();
    let mut transaction = pool.begin().await.expect("a transaction");
    sqlx::query("insert into orders (order_id, customer_id, currency) select id, id, 'EUR' from unnest($1::uuid[]) id")
        .bind(&ids)
        .execute(&mut *transaction)
        .await
        .expect("orders");
    sqlx::query(
        "insert into order_events (order_id, version, event_type, payload)
         select id, 1, 'created', '{}'::json from unnest($1::uuid[]) id",
    )
    .bind(&ids)
    .execute(&mut *transaction)
    .await
    .expect("their events");
    transaction.commit().await.expect("a commit");
    ids.into_iter().map(OrderId::from).collect()
}
