//! `add_item` through the store and by hand: what the store costs on top of the same statements.
//!
//! `cargo bench -p benches --bench store` (with `DATABASE_URL`; SQLite needs nothing)
//!
//! Writers add items at once, each to another order (*spread*) or all of them to the same one (*hot*, and the next one
//! when it is half full). *By hand* is the very statement that the store prepared, through sqlx on the same pool, and the
//! reading of what it answers, which is the order; on SQLite the statements of the same transaction. What criterion prints are times for one item; the ratios at the end come from
//! short rounds by turns, since the machine's speed drifts.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use criterion::{BenchmarkId, Criterion, Throughput};
use futures::future::BoxFuture;
use order_domain::{Currency, Money, NewItem, NewOrder, OrderId, Quantity, Sku};
use order_store::{OrderStore, PostgresOrderStore, Request, SqliteOrderStore};
use sqlx::{PgPool, Row, SqlitePool};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use store_tables::Database;

mod store_tables;

const ITEMS_PER_HOT_ORDER: u64 = 100;
const ITEMS_PER_SPREAD_ORDER: u64 = 10;
const RATIO_ROUNDS: usize = 15;
const RATIO_ADDITIONS: u64 = 300;

/// Adds one item to the order.
type Add = Arc<dyn Fn(OrderId) -> BoxFuture<'static, ()> + Send + Sync>;

#[derive(Clone, Copy, PartialEq)]
enum Load {
    Spread,
    Hot,
}

impl Load {
    const fn name(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Hot => "hot",
        }
    }

    /// The number of orders that this many items need.
    const fn orders(self, additions: u64, writers: u64) -> u64 {
        match self {
            Self::Spread => additions / ITEMS_PER_SPREAD_ORDER + writers,
            Self::Hot => additions / ITEMS_PER_HOT_ORDER + 1,
        }
    }

    /// Which of the orders takes this item.
    fn order(self, orders: &[OrderId], addition: u64) -> OrderId {
        let place = match self {
            Self::Spread => addition,
            Self::Hot => addition / ITEMS_PER_HOT_ORDER,
        };
        orders[usize::try_from(place).expect("a place") % orders.len()]
    }
}

/// Where items are added, by the store and by hand.
struct Arena {
    name: &'static str,
    by_store: Add,
    by_hand: Add,
    new_orders: Box<dyn Fn(u64) -> BoxFuture<'static, Vec<OrderId>>>,
}

impl Arena {
    /// Measures the time that this many writers take for this many items.
    async fn time(&self, add: &Add, load: Load, writers: u64, additions: u64) -> Duration {
        let orders = Arc::new((self.new_orders)(load.orders(additions, writers)).await);
        let next = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let tasks = (0..writers).map(|_| {
            let (orders, next, add) = (Arc::clone(&orders), Arc::clone(&next), Arc::clone(add));
            tokio::spawn(async move {
                loop {
                    let addition = next.fetch_add(1, Ordering::Relaxed);
                    if addition >= additions {
                        return;
                    }
                    add(load.order(&orders, addition)).await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("an item");
        }
        start.elapsed()
    }
}

fn milk() -> NewItem {
    let price = Money::from_minor(149, Currency::EUR).expect("a price");
    NewItem::new(Sku::new("milk").expect("a SKU"), Quantity::MIN, price)
}

fn add<F: Future<Output = ()> + Send + 'static>(f: impl Fn(OrderId) -> F + Send + Sync + 'static) -> Add {
    Arc::new(move |order_id| Box::pin(f(order_id)))
}

async fn postgres(database: &Database) -> Arena {
    let options = PostgresOrderStore::pool_options().max_connections(32);
    let pool = options.connect(&database.url).await.expect("the database");
    let store = PostgresOrderStore::from_pool(pool.clone()).await.expect("a store");
    let statement = prepared_statement(database).await;
    let by_hand_pool = pool.clone();
    Arena {
        name: "postgres",
        by_store: add(move |order_id| {
            let store = store.clone();
            async move {
                store.add_item(order_id, milk(), Request::new()).await.expect("an item");
            }
        }),
        by_hand: add(move |order_id| postgres_by_hand(by_hand_pool.clone(), statement, order_id)),
        new_orders: Box::new(move |how_many| {
            let pool = pool.clone();
            Box::pin(async move { store_tables::orders(&pool, how_many).await })
        }),
    }
}

/// The text that the store sends, as the server has it: on the only connection of a pool.
async fn prepared_statement(database: &Database) -> &'static str {
    let pool =
        PostgresOrderStore::pool_options().max_connections(1).connect(&database.url).await.expect("the database");
    let store = PostgresOrderStore::from_pool(pool.clone()).await.expect("a store");
    let new = NewOrder::new(Uuid::now_v7().into(), Currency::EUR);
    let order = store.create(new, Request::new()).await.expect("an order");
    store.add_item(order.id(), milk(), Request::new()).await.expect("an item");
    let text = "select statement from pg_prepared_statements where statement like 'with before%item_added%'";
    let text: String = sqlx::query_scalar(text).fetch_one(&pool).await.expect("the store's statement");
    text.leak()
}

async fn postgres_by_hand(pool: PgPool, statement: &'static str, order_id: OrderId) {
    let item_id = Uuid::now_v7();
    let payload = format!(
        r#"{{"order_id":"{order_id}","item_id":"{item_id}","sku":"milk","quantity":1,"unit_price_minor":149,"currency":"EUR"}}"#
    );
    let row = sqlx::query(statement)
        .bind(order_id.as_uuid())
        .bind(None::<i64>)
        .bind(None::<&str>)
        .bind("0123456789abcdef0123456789abcdef")
        .bind(Uuid::now_v7())
        .bind(None::<&str>)
        .bind(item_id)
        .bind("milk")
        .bind(1_i32)
        .bind(149_i64)
        .bind("EUR")
        .bind(payload)
        .fetch_one(&pool)
        .await
        .expect("an item");
    const STEPPED_VERSION: usize = 14;
    row.get::<i64, _>(STEPPED_VERSION);
    // What it answers: the order, with its items in arrays.
    black_box((row.get::<Uuid, _>(0), row.get::<Uuid, _>(1), row.get::<&str, _>(2), row.get::<&str, _>(4)));
    black_box((row.get::<Option<DateTime<Utc>>, _>(5), row.get::<Option<DateTime<Utc>>, _>(6)));
    black_box((row.get::<Option<Vec<Uuid>>, _>(7), row.get::<Option<Vec<String>>, _>(8)));
    black_box((row.get::<Option<Vec<i32>>, _>(9), row.get::<Option<Vec<i64>>, _>(10)));
}

async fn sqlite(folder: &TempDir) -> Arena {
    let url = format!("sqlite:{}", folder.path().join("orders.db").display());
    let store = SqliteOrderStore::connect(&url).await.expect("a file");
    store.migrate().await.expect("tables");
    let (writer, creator) = (store.writer().clone(), store.clone());
    Arena {
        name: "sqlite",
        by_store: add(move |order_id| {
            let store = store.clone();
            async move {
                store.add_item(order_id, milk(), Request::new()).await.expect("an item");
            }
        }),
        by_hand: add(move |order_id| sqlite_by_hand(writer.clone(), order_id)),
        new_orders: Box::new(move |how_many| {
            let store = creator.clone();
            Box::pin(async move {
                let mut orders = Vec::new();
                for _ in 0..how_many {
                    let new = NewOrder::new(Uuid::now_v7().into(), Currency::EUR);
                    orders.push(store.create(new, Request::new()).await.expect("an order").id());
                }
                orders
            })
        }),
    }
}

/// On the store's own writer, so with its settings: WAL, synchronous=FULL.
async fn sqlite_by_hand(writer: SqlitePool, order_id: OrderId) {
    let (order_id, item_id) = (order_id.to_string(), Uuid::now_v7().to_string());
    let payload = format!(
        r#"{{"order_id":"{order_id}","item_id":"{item_id}","sku":"milk","quantity":1,"unit_price_minor":149,"currency":"EUR"}}"#
    );
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");
    let version: i64 = sqlx::query_scalar(
        "update orders set version = version + 1, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
          where order_id = $1 and status <> 'cancelled' returning version",
    )
    .bind(&order_id)
    .fetch_one(&mut *transaction)
    .await
    .expect("a step");
    sqlx::query(
        "insert into order_items (order_id, item_id, sku, quantity, unit_price_minor) values ($1, $2, $3, $4, $5)",
    )
    .bind(&order_id)
    .bind(&item_id)
    .bind("milk")
    .bind(1_i64)
    .bind(149_i64)
    .execute(&mut *transaction)
    .await
    .expect("an item");
    sqlx::query(
        "insert into order_events (event_id, order_id, version, event_type, payload) values ($1, $2, $3, 'item_added', $4)",
    )
    .bind(Uuid::now_v7().to_string())
    .bind(&order_id)
    .bind(version)
    .bind(payload)
    .execute(&mut *transaction)
    .await
    .expect("an event");
    transaction.commit().await.expect("a commit");
}

fn measure(criterion: &mut Criterion, runtime: &Runtime, arena: &Arena, loads: &[Load], writers: &[u64]) {
    for load in loads {
        let mut group = criterion.benchmark_group(format!("{} add_item {}", arena.name, load.name()));
        group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
        group.throughput(Throughput::Elements(1));
        for writers in writers {
            for (name, add) in [("store", &arena.by_store), ("by hand", &arena.by_hand)] {
                group.bench_with_input(BenchmarkId::new(name, writers), writers, |bencher, writers| {
                    bencher.iter_custom(|additions| runtime.block_on(arena.time(add, *load, *writers, additions)));
                });
            }
        }
        group.finish();
    }
}

/// The store's items per second as a share of those by hand: the median of rounds by turns.
fn print_ratios(runtime: &Runtime, arena: &Arena, loads: &[Load], writers: &[u64]) {
    for load in loads {
        for writers in writers {
            let time = |add| runtime.block_on(arena.time(add, *load, *writers, RATIO_ADDITIONS)).as_secs_f64();
            let mut shares: Vec<f64> = (0..RATIO_ROUNDS)
                .map(|round| {
                    // By turns the first one.
                    if round % 2 == 0 {
                        let by_store = time(&arena.by_store);
                        time(&arena.by_hand) / by_store
                    } else {
                        let by_hand = time(&arena.by_hand);
                        by_hand / time(&arena.by_store)
                    }
                })
                .collect();
            shares.sort_by(f64::total_cmp);
            let (low, share, high) = (shares[RATIO_ROUNDS / 4], shares[RATIO_ROUNDS / 2], shares[RATIO_ROUNDS * 3 / 4]);
            println!(
                "{:>8} {:>6}, {writers:>2} writers: the store does {share:.2} of what is done by hand ({low:.2} to {high:.2})",
                arena.name,
                load.name(),
            );
        }
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let database = runtime.block_on(Database::create());
    let on_postgres = runtime.block_on(postgres(&database));
    let on_sqlite = runtime.block_on(sqlite(&folder));
    let (both, spread) = ([Load::Spread, Load::Hot], [Load::Spread]);
    measure(&mut criterion, &runtime, &on_postgres, &both, &[1, 8, 32]);
    measure(&mut criterion, &runtime, &on_sqlite, &spread, &[1, 8]);
    // `cargo test --benches` runs this too: it has seen enough by now.
    if std::env::args().any(|argument| argument == "--bench") {
        print_ratios(&runtime, &on_postgres, &both, &[1, 8, 32]);
        print_ratios(&runtime, &on_sqlite, &spread, &[1, 8]);
    }
    criterion.final_summary();
    drop(on_postgres);
    runtime.block_on(database.drop());
}
