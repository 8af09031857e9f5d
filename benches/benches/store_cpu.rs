//! PostgreSQL's CPU time for one `add_item`: with all rules of the database, without the guard, and without any rule.
//!
//! `cargo bench -p benches --bench store_cpu` (with `DATABASE_URL`; the server has to run on this machine, on Linux)
//!
//! The same statement of the store runs on databases that differ in their rules alone:
//!
//! | | guard | limit of items | CHECKs | unique keys of the outbox |
//! | --- | --- | --- | --- | --- |
//! | *everything* | yes | the guard's | yes | yes |
//! | *no guard* | no | a trigger of its own | yes | yes |
//! | *nothing* | no | no | no | the sequence only |
//!
//! Each of them has rows and statistics before the first plan is made, as tables in use have them: what is planned on empty
//! tables scans them from end to end. Short rounds by turns, since the machine's speed drifts and others use it; ratios are
//! of the same round. CPU time is the scheduler's own count of the backend's process, so it has the kernel's part of it too.

use std::time::Duration;

use order_domain::{Currency, Money, NewItem, OrderId, Quantity, Sku};
use order_store::{OrderStore, PostgresOrderStore, Request};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use store_tables::Database;

mod store_tables;

const ROUNDS: usize = 81;
/// The first rounds make the plans and fill the caches.
const SETTLING_ROUNDS: usize = 5;
const ADDITIONS_PER_ROUND: usize = 100;
/// So that a round's orders have from none to four items when another one comes.
const ORDERS_PER_ROUND: u64 = 20;

/// All that the guard made but the outbox; its limit of items as a trigger by itself, as one would write it by hand.
const NO_GUARD: &str = "
do $$
declare
    made record;
begin
    for made in select tgname, tgrelid::regclass as on_table from pg_trigger where tgname ~ '_guard_' loop
        execute format('drop trigger %I on %s', made.tgname, made.on_table);
    end loop;
end $$;
alter table orders drop constraint orders_version_has_event;
alter table order_events alter sequence set default nextval('order_events_sequence');
create function order_items_limit() returns trigger language plpgsql as $$
begin
    if (select count(*) from order_items i where i.order_id = new.order_id) < 200 then
        return new;
    end if;
    raise check_violation;
end $$;
create trigger order_items_limit before insert or update of order_id on order_items
    for each row execute function order_items_limit();";

/// Tables, their primary keys, and the index by customer.
const NOTHING: &str = "
do $$
declare
    made record;
begin
    for made in select tgname, tgrelid::regclass as on_table from pg_trigger where not tgisinternal loop
        execute format('drop trigger %I on %s', made.tgname, made.on_table);
    end loop;
    for made in select conname, conrelid::regclass as on_table from pg_constraint
                 where connamespace = 'public'::regnamespace and contype in ('c', 'f') loop
        execute format('alter table %s drop constraint %I', made.on_table, made.conname);
    end loop;
end $$;
alter table order_events drop constraint order_events_event_id_is_unique;
alter table order_events drop constraint order_events_one_per_version;
drop index order_events_transaction_id;
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
        database.run(change).await;
        let options = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let pool = options.test_before_acquire(false).connect(&database.url).await.expect("the database");
        let backend = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&pool).await.expect("a process id");
        let store = PostgresOrderStore::from_pool(pool.clone()).await.expect("a store");
        Self { name, database, pool, store, backend, rounds_us: Vec::new() }
    }

    /// Keeps the microseconds of CPU for each item of a round.
    async fn round(&mut self) {
        let orders = store_tables::orders(&self.pool, ORDERS_PER_ROUND).await;
        let before = self.cpu();
        for addition in 0..ADDITIONS_PER_ROUND {
            let order_id: OrderId = orders[addition % orders.len()];
            self.store.add_item(order_id, milk(), Request::new()).await.expect("an item");
        }
        let used = self.cpu() - before;
        self.rounds_us.push(used.as_secs_f64() * 1e6 / ADDITIONS_PER_ROUND as f64);
    }

    /// The first number of schedstat: nanoseconds on a CPU (Documentation/scheduler/sched-stats.rst).
    fn cpu(&self) -> Duration {
        let path = format!("/proc/{}/schedstat", self.backend);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}: is the server here?"));
        let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number");
        Duration::from_nanos(nanoseconds)
    }

    async fn drop(self) {
        drop(self.store);
        self.pool.close().await;
        self.database.drop().await;
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
    let mut contenders = [
        Contender::create("everything", "select 1").await,
        Contender::create("no guard", NO_GUARD).await,
        Contender::create("nothing", NOTHING).await,
    ];
    for round in 0..SETTLING_ROUNDS + rounds {
        // By turns the first, since the next one finds the processor warm.
        for turn in 0..contenders.len() {
            contenders[(round + turn) % contenders.len()].round().await;
        }
    }
    println!(
        "PostgreSQL's CPU for one add_item: {ADDITIONS_PER_ROUND} in each of {rounds} rounds, medians (quartiles)"
    );
    for contender in &contenders {
        let [low, half, high] = quartiles(contender.rounds_us[SETTLING_ROUNDS..].to_vec());
        println!("{:>24}: {half:6.1} us ({low:.1} to {high:.1})", contender.name);
    }
    let [everything, no_guard, nothing] = &contenders;
    for (what, with, without) in [
        ("the guard", everything, no_guard),
        ("bounds without guard", no_guard, nothing),
        ("all of it", everything, nothing),
    ] {
        let rounds = with.rounds_us.iter().zip(&without.rounds_us).skip(SETTLING_ROUNDS);
        let [low, half, high] = quartiles(rounds.map(|(with, without)| with / without).collect());
        println!("{what:>24}: {half:.3} times ({low:.3} to {high:.3}), {} to {}", without.name, with.name);
    }
    for contender in contenders {
        contender.drop().await;
    }
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[values.len() * quarter / 4])
}
