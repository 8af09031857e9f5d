//! What a shutdown finishes, and what it leaves to the next relay.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use change_feed::judge::Delivery;
use change_feed::memory::MemorySource;
use change_feed::source::{Elected, Start};
use change_feed::{Changes, Checkpoint, End, Position, RelayOptions, RelayState, Source, SourceError};

use crate::relay::scripted::{Fault, Script, Scripted};
use crate::relay::world::{World, quick, within};

#[tokio::test]
async fn a_shutdown_delivers_what_is_captured() {
    let world = World::loaded();
    let script = Script::new();
    script.close("publish");
    let relay = world.relay(world.source(), Scripted::new(world.transactional(), &script));
    let handle = relay.handle();
    let stopped = within(relay.run(async {
        // Everything is captured, and nothing of it published.
        handle.wait_until(|status| status.pending_bytes > 0).await;
        crate::relay::world::settle().await;
        script.open();
    }))
    .await
    .expect("no fault");
    assert!(stopped.drained);
    assert_eq!(stopped.position, world.database.end());
    world.assert_clean(Delivery::ExactlyOnce, "after a shutdown");
}

#[tokio::test]
async fn a_publisher_that_hangs_holds_a_shutdown_up_for_a_bounded_time() {
    let world = World::loaded();
    let script = Script::new();
    script.fail("publish", Fault::Hangs);
    let options = RelayOptions { shutdown_timeout: Duration::from_millis(20), ..quick() };
    let relay = world.relay(world.source(), Scripted::new(world.transactional(), &script)).options(options);
    let handle = relay.handle();
    let shutdown = async {
        handle.wait_until(|status| status.pending_bytes > 0).await;
    };
    let stopped = within(relay.run(shutdown)).await.expect("nothing is lost");
    assert!(!stopped.drained);
    assert_eq!(stopped.position, Position::ORIGIN);
    world.finish(Delivery::ExactlyOnce).await;
    world.assert_clean(Delivery::ExactlyOnce, "after a shutdown that left everything behind");
}

#[tokio::test]
async fn a_shutdown_while_the_broker_is_away_ends_the_retries() {
    let world = World::loaded();
    let script = Script::new();
    script.fail("publish", Fault::Away);
    let options = RelayOptions {
        min_retry_delay: Duration::from_secs(3600),
        max_retry_delay: Duration::from_secs(3600),
        ..RelayOptions::default()
    };
    let relay = world.relay(world.source(), Scripted::new(world.transactional(), &script)).options(options);
    let handle = relay.handle();
    let shutdown = async {
        handle.wait_until(|status| matches!(status.state, RelayState::Retrying { .. })).await;
    };
    let stopped = within(relay.run(shutdown)).await.expect("nothing is lost");
    assert!(!stopped.drained);
    world.finish(Delivery::ExactlyOnce).await;
    world.assert_clean(Delivery::ExactlyOnce, "after a shutdown between retries");
}

#[tokio::test]
async fn a_relay_that_is_told_to_stop_at_once_has_captured_nothing() {
    let world = World::loaded();
    let relay = world.relay(world.source(), world.transactional());
    let stopped = within(relay.run(async {})).await.expect("no fault");
    assert!(stopped.drained);
    assert_eq!(stopped.position, Position::ORIGIN);
    assert_eq!(world.database.checkpoint(&world.feed), None);
}

#[tokio::test]
async fn a_large_transaction_that_is_not_complete_is_left_to_the_next_relay() {
    let world = World::new();
    world.database.commit(["a"; 8]);
    let script = Script::new();
    script.close("publish");
    let options = RelayOptions { max_pending_bytes: 1, ..quick() };
    let relay = world.relay(world.source(), Scripted::new(world.transactional(), &script)).options(options);
    let handle = relay.handle();
    let shutdown = async {
        handle.wait_until(|status| status.pending_bytes > 0).await;
        script.open();
    };
    let stopped = within(relay.run(shutdown)).await.expect("no fault");
    assert!(!stopped.drained);
    assert_eq!(stopped.position, Position::ORIGIN);
    assert!(world.published_keys().is_empty());
    world.finish(Delivery::ExactlyOnce).await;
    world.assert_clean(Delivery::ExactlyOnce, "after a shutdown inside a transaction");
}

#[tokio::test]
async fn nothing_of_a_transaction_that_will_not_be_complete_is_begun_in_a_shutdown() {
    let world = World::new();
    world.database.commit(["a"]);
    world.database.commit(["b"; 8]);
    let script = Script::new();
    script.close("publish");
    // Room for the first transaction and for a piece of the second.
    let options = RelayOptions { max_pending_bytes: 1000, ..quick() };
    // This publisher shows every part at once.
    let publisher = Scripted::new(world.publisher(Delivery::AtLeastOnce), &script);
    let relay = world.relay(world.source(), publisher).options(options);
    let handle = relay.handle();
    let shutdown = async {
        handle.wait_until(|status| status.pending_bytes > 1000).await;
    };
    let opened = async {
        crate::relay::world::settle().await;
        script.open();
    };
    let (stopped, ()) = within(Box::pin(async { tokio::join!(relay.run(shutdown), opened) })).await;
    assert!(!stopped.expect("no fault").drained);
    assert_eq!(world.published_keys(), ["a1"]);
    world.finish(Delivery::AtLeastOnce).await;
    world.assert_clean(Delivery::ExactlyOnce, "nothing came twice");
}

/// Numbers its runs, as a poller does: in tens when it is started for the first time, one by one from then on, as if the same
/// changes came in fewer runs.
struct Numbering {
    inner: MemorySource,
    starts: AtomicU64,
    run: AtomicU64,
}

#[async_trait]
impl Source for Numbering {
    async fn elect(&self) -> Result<Elected, SourceError> {
        self.inner.elect().await
    }

    async fn start(&self, start: &Start<'_>) -> Result<(), SourceError> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        let after = start.position();
        self.run.store(after.major(), Ordering::Relaxed);
        let inside = after.tail().map_or(Ok(Position::ORIGIN), str::parse);
        self.inner.start(&Start::after(&inside.expect("a position of the inner source"), start.epoch())).await
    }

    async fn next(&self) -> Result<Changes, SourceError> {
        let mut run = self.inner.next().await?;
        let step = if self.starts.load(Ordering::Relaxed) == 1 { 10 } else { 1 };
        let number = self.run.fetch_add(step, Ordering::Relaxed) + step;
        for (minor, change) in (0..).zip(&mut run.changes) {
            change.position = Position::new('n', number, minor);
        }
        if let End::Complete(inside) = &run.end {
            run.end = End::Complete(Position::new('n', number, u64::MAX).with_tail(inside.to_string()));
        }
        Ok(run)
    }

    async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError> {
        self.inner.acknowledge(checkpoint).await
    }
}

#[tokio::test]
async fn what_was_captured_in_vain_and_then_published_in_fewer_runs_is_not_left_behind() {
    let world = World::loaded();
    let script = Script::new();
    script.fail("publish", Fault::Away);
    let source = Numbering { inner: world.source(), starts: AtomicU64::new(0), run: AtomicU64::new(0) };
    let relay = world.relay(source, Scripted::new(world.transactional(), &script));
    let handle = relay.handle();
    let shutdown = async {
        handle.wait_until(|status| matches!(status.state, RelayState::Retrying { .. })).await;
        script.heal();
        world.broker.wait_for_records(crate::relay::world::TOPIC, world.database.changes().len()).await;
        crate::relay::world::settle().await;
    };
    let stopped = within(relay.run(shutdown)).await.expect("no fault");
    assert!(stopped.drained, "{}", stopped.position);
    world.assert_clean(Delivery::ExactlyOnce, "after a shutdown");
}
