//! A backlog in an outbox, polled and rendered as lines of JSON that are thrown away.
//!
//! `eval "$(scripts/services env)"; cargo bench -p benches --bench poll`
//!
//! By the number of events in a transaction. The databases are on this machine and share its cores.

#[path = "polling/store.rs"]
mod store;

use std::sync::atomic::{AtomicUsize, Ordering};

use change_feed::ndjson::NdjsonPublisher;
use change_feed::outbox::Wake;
use change_feed::{FeedName, Relay, Router};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sqlx::{AssertSqlSafe, Executor};
use tokio::runtime::{Builder, Runtime};

use crate::store::Store;

const EVENTS: u64 = 20_000;
const TRANSACTIONS: [u64; 3] = [1, 10, 1_000];

/// Names a feed that has not run yet.
fn new_feed() -> FeedName {
    static FEEDS: AtomicUsize = AtomicUsize::new(0);
    let number = FEEDS.fetch_add(1, Ordering::Relaxed);
    FeedName::new(format!("feed_{number}")).expect("a valid name")
}

fn drain(runtime: &Runtime, store: &Store, feed: FeedName) {
    runtime.block_on(async {
        let source = store.source(&feed, &Wake::new()).await;
        let relay = Relay::new(feed, source, Router::to_topic("carts"), NdjsonPublisher::writer(std::io::sink()));
        let handle = relay.handle();
        let shutdown = async {
            handle.wait_until(|status| status.envelopes >= EVENTS).await;
        };
        relay.run(shutdown).await.expect("nothing fails");
    });
}

/// New carts with events of 200 bytes, in transactions of this many, without waiting for the disk.
async fn fill(store: &Store, events_per_transaction: u64) {
    let transactions = EVENTS / events_per_transaction;
    let payload = format!("{{\"note\":\"{}\"}}", "x".repeat(188));
    match store {
        Store::Sqlite(pool, _) => {
            for transaction in 0..transactions {
                let mut writer = pool.begin_with("begin immediate").await.expect("a transaction");
                let (first, last) = (transaction * events_per_transaction, (transaction + 1) * events_per_transaction);
                let script = format!(
                    "insert into carts (cart_id, version)
                        with recursive n (n) as (values ({first}) union all select n + 1 from n where n + 1 < {last})
                        select printf('00000000-0000-7000-8000-%012x', n), 1 from n;
                    insert into cart_events (cart_id, version, event_type, payload)
                        with recursive n (n) as (values ({first}) union all select n + 1 from n where n + 1 < {last})
                        select printf('00000000-0000-7000-8000-%012x', n), 1, 'cart.created.v1', '{payload}' from n"
                );
                writer.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.expect("events");
                writer.commit().await.expect("a commit");
            }
        }
        Store::Postgres(pool) => {
            let script = format!(
                "do $$ begin
                    set synchronous_commit = off;
                    for transaction in 1..{transactions} loop
                        with cart as (insert into carts (cart_id, version)
                            select gen_random_uuid(), 1 from generate_series(1, {events_per_transaction}) returning *)
                        insert into cart_events (cart_id, version, event_type, payload)
                            select cart_id, 1, 'cart.created.v1', '{payload}' from cart;
                        commit;
                    end loop;
                end $$"
            );
            let mut writer = pool.acquire().await.expect("a connection");
            writer.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.expect("events");
        }
    }
}

fn poll(criterion: &mut Criterion) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut group = criterion.benchmark_group("poll");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(10);
    for events in TRANSACTIONS {
        for database in ["sqlite", "postgres"] {
            let store = runtime.block_on(async {
                let store = if database == "sqlite" { Store::sqlite().await } else { Store::postgres().await };
                fill(&store, events).await;
                store
            });
            group.bench_function(BenchmarkId::new(database, events), |bencher| {
                bencher.iter_batched(new_feed, |feed| drain(&runtime, &store, feed), BatchSize::PerIteration);
            });
        }
    }
    group.finish();
}

criterion_group!(benches, poll);
criterion_main!(benches);
