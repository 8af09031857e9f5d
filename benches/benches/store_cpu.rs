//! What one `add_item` costs PostgreSQL's CPU, with the guard and without.
//!
//! `cargo bench -p benches --bench store_cpu` (with `DATABASE_URL`; the server has to run on this machine, on Linux)
//!
//! The same statement of the store runs on databases that differ in their triggers alone, in short rounds by turns, since
//! the machine's speed drifts. The backend's CPU time is the scheduler's own count. What is printed is the median round of
//! each, and the median of the ratios within the rounds.

use std::time::Duration;

use order_domain::{Currency, Money, NewItem, OrderId, Quantity, Sku};
use order_store::{OrderStore, PostgresOrderStore, Request};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use store_tables::Database;

mod store_tables;

const ROUNDS: usize = 41;
/// The first rounds settle the plans.
const SETTLING_ROUNDS: usize = 3;
const ADDITIONS_PER_ROUND: usize = 200;
/// So that a round's orders have from none to four items when another one comes.
const ORDERS_PER_ROUND: u64 = 40;

const WITHOUT_GUARD: &str = "
    drop trigger orders_guard_insert on orders; drop trigger orders_guard_update on orders;
    drop trigger order_items_guard_insert on order_items; drop trigger order_events_guard_insert on order_events;
    alter table orders drop constraint orders_version_has_event;
    alter table order_events alter sequence set default nextval('order_events_sequence');";

/// A database, a store with one connection to it, and that connection's process.
struct Contender {
    name: &'static str,
    database: Database,
    pool: PgPool,
    store: PostgresOrderStore,
    backend: i32,
    rounds_us: Vec<f64>,
}

impl Contender {
    async fn create(name: &'static str, change: &'static str) -> Self {
        let database = Database::create().await;
        let options = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let pool = options.test_before_acquire(false).connect(&database.url).await.expect("the database");
        sqlx::raw_sql(change).execute(&pool).await.expect("other triggers");
        let backend = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&pool).await.expect("a process id");
        let store = PostgresOrderStore::from_pool(pool.clone()).await.expect("a store");
        Self { name, database, pool, store, backend, rounds_us: Vec::new() }
    }

    /// Microseconds of CPU for each item of a round.
    async fn round(&mut self) -> f64 {
        let orders = store_tables::orders(&self.pool, ORDERS_PER_ROUND).await;
        let before = self.cpu();
        for addition in 0..ADDITIONS_PER_ROUND {
            let order_id: OrderId = orders[addition % orders.len()];
            self.store.add_item(order_id, milk(), Request::new()).await.expect("an item");
        }
        let used = self.cpu() - before;
        let each_us = used.as_secs_f64() * 1e6 / ADDITIONS_PER_ROUND as f64;
        self.rounds_us.push(each_us);
        each_us
    }

    /// The first number of schedstat: nanoseconds on a CPU (Documentation/scheduler/sched-stats.rst).
    fn cpu(&self) -> Duration {
        let path = format!("/proc/{}/schedstat", self.backend);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}: is the server here?"));
        let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number");
        Duration::from_nanos(nanoseconds)
    }
}

fn milk() -> NewItem {
    let price = Money::from_minor(149, Currency::EUR).expect("a price");
    NewItem::new(Sku::new("milk").expect("a SKU"), Quantity::MIN, price)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo test --benches` runs this too: a glance is enough then.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { ROUNDS } else { 1 };
    let mut guarded = Contender::create("with the guard", "select 1").await;
    let mut bare = Contender::create("without it", WITHOUT_GUARD).await;
    let mut ratios = Vec::new();
    for round in 0..SETTLING_ROUNDS + rounds {
        // By turns the first, since the second one finds the processor warm.
        let (with, without) = if round % 2 == 0 {
            let with = guarded.round().await;
            (with, bare.round().await)
        } else {
            let without = bare.round().await;
            (guarded.round().await, without)
        };
        if round >= SETTLING_ROUNDS {
            ratios.push(with / without);
        }
    }
    println!("PostgreSQL's CPU for one add_item ({ADDITIONS_PER_ROUND} in each of {rounds} rounds)");
    for contender in [&mut guarded, &mut bare] {
        let mut settled = contender.rounds_us.split_off(SETTLING_ROUNDS);
        let [quarter, half] = quarter_and_half(&mut settled);
        println!("{:>15}: {half:6.1} us (a quarter of the rounds: {quarter:.1} or less)", contender.name);
    }
    let [_, half] = quarter_and_half(&mut ratios);
    println!("          ratio: {half:6.3} (median of the rounds)");
    for contender in [guarded, bare] {
        drop(contender.store);
        contender.pool.close().await;
        contender.database.drop().await;
    }
}

fn quarter_and_half(values: &mut [f64]) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    [values[values.len() / 4], values[values.len() / 2]]
}
