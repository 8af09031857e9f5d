//! How many allocations an envelope costs on its way from a source in memory to a publisher in
//! memory: a count, so that it can't be noise. What a part costs, some 25 allocations for its
//! checkpoint and its calls, is spread over its envelopes: runs are of 100 changes and more, as they
//! are whenever speed matters.

use change_feed::memory::{MemoryBroker, MemoryPublisher};
use change_feed::memory::{MemoryDatabase, MemoryEvent, MemorySource};
use change_feed::{FeedName, Relay, Router};

const ENVELOPES: u64 = 50_000;

/// The allocations of a relay that drains a backlog in runs of this many changes.
fn allocations(max_run_changes: usize, events_per_transaction: u64) -> u64 {
    let database = MemoryDatabase::new();
    for _ in 0..ENVELOPES / events_per_transaction {
        // A payload of its own for each event, in the form whose first sharing costs an allocation.
        let payload = || format!(r#"{{"sku":"milk","note":"{}"}}"#, "x".repeat(250)).into_bytes().into_boxed_slice();
        database.commit((0..events_per_transaction).map(|n| MemoryEvent::new(format!("order-{n}")).payload(payload())));
    }
    let broker = MemoryBroker::new();
    let feed = FeedName::new("orders").expect("a valid name");
    let source = MemorySource::new(&database, &feed).max_run_changes(max_run_changes);
    let publisher = MemoryPublisher::transactional(&broker, &feed);
    let relay = Relay::new(feed, source, Router::to_topic("orders.events"), publisher);
    let handle = relay.handle();
    let end = database.end();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let measured = allocation_counter::measure(|| {
        let shutdown = async {
            handle.wait_until(|status| status.position >= end).await;
        };
        let stopped = runtime.block_on(Box::pin(relay.run(shutdown))).expect("no fault");
        assert!(stopped.drained);
    });
    assert_eq!(broker.records("orders.events").len() as u64, ENVELOPES);
    measured.count_total
}

#[test]
fn an_envelope_costs_at_most_two_allocations() {
    for (max_run_changes, events_per_transaction) in [(1000, 1), (1000, 5), (100, 1), (100, 1000)] {
        let count = allocations(max_run_changes, events_per_transaction);
        assert!(
            count <= 2 * ENVELOPES,
            "{count} allocations for {ENVELOPES} envelopes, runs of {max_run_changes}, transactions of {events_per_transaction}"
        );
        // The count sees the payloads at least.
        assert!(count >= ENVELOPES, "{count}");
    }
}
