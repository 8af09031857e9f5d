//! What the relay itself costs: a backlog in memory, drained on one core.
//!
//! `cargo bench -p benches --bench relay`
//!
//! `memory` publishes to a broker in memory; `ndjson` renders lines of JSON and throws them away.
//! Both by the number of events in a transaction. Allocations are counted by a test:
//! `cargo test -p change-feed --test relay_allocations`.

use std::sync::atomic::{AtomicUsize, Ordering};

use change_feed::memory::{MemoryBroker, MemoryPublisher};
use change_feed::memory::{MemoryDatabase, MemoryEvent, MemorySource};
use change_feed::ndjson::NdjsonPublisher;
use change_feed::{FeedName, Publisher, Relay, Router};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::{Builder, Runtime};

const ENVELOPES: u64 = 100_000;
const TOPIC: &str = "orders.events";
const TRANSACTIONS: [u64; 3] = [1, 10, 1000];

/// A backlog of order events of 200 bytes, 10,000 orders in turn.
fn backlog(events_per_transaction: u64) -> MemoryDatabase {
    let database = MemoryDatabase::new();
    for transaction in 0..ENVELOPES / events_per_transaction {
        database.commit((0..events_per_transaction).map(|event| {
            let number = transaction * events_per_transaction + event;
            let payload = format!("{{\"number\":{number},\"note\":\"{}\"}}", "x".repeat(170));
            MemoryEvent::new(format!("order-{}", number % 10_000))
                .event_type("order.item_added.v1")
                .payload(payload.into_bytes().into_boxed_slice())
        }));
    }
    database
}

/// Names a feed that has not run yet.
fn new_feed() -> FeedName {
    static FEEDS: AtomicUsize = AtomicUsize::new(0);
    let number = FEEDS.fetch_add(1, Ordering::Relaxed);
    FeedName::new(format!("feed_{number}")).expect("a valid name")
}

fn drain<P: Publisher>(runtime: &Runtime, database: &MemoryDatabase, feed: FeedName, publisher: P) {
    let source = MemorySource::new(database, &feed);
    let relay = Relay::new(feed, source, Router::to_topic(TOPIC), publisher);
    let handle = relay.handle();
    let end = database.end();
    let shutdown = async {
        handle.wait_until(|status| status.position >= end).await;
    };
    let stopped = runtime.block_on(relay.run(shutdown)).expect("nothing fails");
    assert!(stopped.drained);
}

fn relay(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut group = criterion.benchmark_group("relay");
    group.throughput(Throughput::Elements(ENVELOPES)).sample_size(20);
    for events in TRANSACTIONS {
        let database = backlog(events);
        group.bench_function(BenchmarkId::new("memory", events), |bencher| {
            let setup = || (new_feed(), MemoryBroker::new());
            let routine = |(feed, broker): (FeedName, MemoryBroker)| {
                let publisher = MemoryPublisher::transactional(&broker, &feed);
                drain(&runtime, &database, feed, publisher);
                broker
            };
            bencher.iter_batched(setup, routine, BatchSize::PerIteration);
        });
        group.bench_function(BenchmarkId::new("ndjson", events), |bencher| {
            let routine = |feed| drain(&runtime, &database, feed, NdjsonPublisher::writer(std::io::sink()));
            bencher.iter_batched(new_feed, routine, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, relay);
criterion_main!(benches);
