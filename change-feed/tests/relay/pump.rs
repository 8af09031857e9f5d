//! Capture and publication overlap, within bounds.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use change_feed::judge::Delivery;
use change_feed::memory::MemoryPublisher;
use change_feed::{RelayOptions, RelayState};

use crate::relay::scripted::{Script, Scripted};
use crate::relay::world::{World, event_of, quick, settle, within};

#[tokio::test]
async fn the_next_part_forms_while_one_is_being_published() {
    let world = World::new();
    world.database.commit(["a"]);
    let script = Script::new();
    script.close("publish");
    let relay = world.relay(world.source(), Scripted::new(world.transactional(), &script));
    let handle = relay.handle();
    let shutdown = async {
        handle.wait_until(|status| status.pending_bytes > 0).await;
        let one_part = handle.status().pending_bytes;
        for _ in 0..20 {
            world.database.commit(["a"]);
            settle().await;
        }
        assert_eq!(handle.status().pending_bytes, 21 * one_part);
        assert_eq!(script.count("publish"), 1);
        script.open();
        handle.wait_until(|status| status.position >= world.database.end()).await;
    };
    within(relay.run(shutdown)).await.expect("no fault");
    assert_eq!(script.count("publish"), 2);
    assert_eq!(script.largest_part(), 20);
    world.assert_clean(Delivery::ExactlyOnce, "after overlap");
}

#[tokio::test]
async fn an_idle_feed_publishes_each_change_at_once_and_alone() {
    let world = World::new();
    let relay = world.relay(world.source(), world.transactional());
    let handle = relay.handle();
    let shutdown = async {
        for count in 1..=5 {
            world.database.commit(["a"]);
            let status = handle.wait_until(|status| status.position >= world.database.end()).await;
            assert_eq!((status.parts, status.envelopes), (count, count));
        }
    };
    within(relay.run(shutdown)).await.expect("no fault");
}

#[tokio::test]
async fn an_idle_relay_does_nothing_at_all() {
    let world = World::loaded();
    let relay = world.relay(world.source(), world.transactional());
    let handle = relay.handle();
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let relaying = tokio::spawn(async move {
        let mut run = pin!(relay.run(std::future::pending()));
        poll_fn(|context| {
            counted.fetch_add(1, Ordering::Relaxed);
            run.as_mut().poll(context)
        })
        .await
    });
    handle.wait_until(|status| status.position >= world.database.end()).await;
    settle().await;
    let idle = polls.load(Ordering::Relaxed);
    settle().await;
    // Longer than any pause or tick that a relay could hide.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(polls.load(Ordering::Relaxed), idle);
    relaying.abort();
}

#[tokio::test]
async fn what_is_captured_and_not_published_stays_bounded() {
    let world = World::new();
    for _ in 0..1000 {
        world.database.commit([event_of("a", 1000)]);
    }
    let script = Script::new();
    script.close("publish");
    let max_pending_bytes = 20_000;
    let options = RelayOptions { max_pending_bytes, max_part_envelopes: 7, ..quick() };
    let source = Scripted::new(world.source(), &script);
    let relay = world.relay(source, Scripted::new(world.transactional(), &script)).options(options);
    let handle = relay.handle();
    let shutdown = async {
        let full = handle.wait_until(|status| status.pending_bytes >= max_pending_bytes).await;
        let run_bytes = 3 * full.pending_bytes / 12;
        assert!(full.pending_bytes < max_pending_bytes + run_bytes, "{full:?}");
        let captures = script.count("next");
        settle().await;
        assert_eq!(script.count("next"), captures, "capture waits for room");
        assert_eq!(handle.status().pending_bytes, full.pending_bytes);
        script.open();
        handle.wait_until(|status| status.position >= world.database.end()).await;
    };
    within(relay.run(shutdown)).await.expect("no fault");
    // Two runs of three fit into seven.
    assert_eq!(script.largest_part(), 6);
    world.assert_clean(Delivery::ExactlyOnce, "after back-pressure");
}

#[tokio::test]
async fn acknowledgements_don_t_delay_publication_and_the_newest_stands_for_all() {
    let world = World::new();
    let script = Script::new();
    let source = Scripted::new(world.source(), &script);
    let relay = world.relay(source, world.transactional());
    let handle = relay.handle();
    let shutdown = async {
        handle.wait_until(|status| status.state == RelayState::Running).await;
        script.close("acknowledge");
        for _ in 0..200 {
            world.database.commit(["a"]);
            handle.wait_until(|status| status.position >= world.database.end()).await;
        }
        script.open();
    };
    let stopped = within(relay.run(shutdown)).await.expect("no fault");
    // The enrolment, the one that took so long, and the newest of all that were due then.
    assert_eq!(script.count("acknowledge"), 3);
    let acknowledged = world.database.checkpoint(&world.feed).expect("acknowledged");
    assert_eq!(acknowledged.position, stopped.position);
}

#[tokio::test]
async fn a_position_that_moves_without_changes_is_published_and_acknowledged() {
    let world = World::new();
    world.database.commit_records([]);
    let end = world.finish(Delivery::ExactlyOnce).await;
    assert_eq!(world.broker.checkpoint(&world.feed).expect("kept").position, end);
    assert_eq!(world.database.checkpoint(&world.feed).expect("acknowledged").position, end);
}

#[tokio::test]
async fn a_paused_relay_publishes_nothing_until_it_is_resumed() {
    let world = World::new();
    let relay = world.relay(world.source(), world.transactional());
    let handle = relay.handle();
    let shutdown = async {
        world.database.commit(["a"]);
        handle.wait_until(|status| status.position >= world.database.end()).await;
        handle.pause();
        handle.wait_until(|status| status.state == RelayState::Paused).await;
        world.database.commit(["a"]);
        settle().await;
        assert_eq!(world.published_keys(), ["a1"]);
        handle.resume();
        handle.wait_until(|status| status.position >= world.database.end()).await;
        assert_eq!(handle.status().state, RelayState::Running);
    };
    within(relay.run(shutdown)).await.expect("no fault");
    world.assert_clean(Delivery::ExactlyOnce, "after a pause");
}

#[tokio::test]
async fn a_pause_waits_for_the_end_of_a_large_transaction() {
    let world = World::new();
    let script = Script::new();
    script.close("publish");
    let relay = world.relay(world.source(), Scripted::new(world.transactional(), &script));
    let handle = relay.handle();
    let shutdown = async {
        world.database.commit(["a"; 20]);
        world.database.commit(["b"]);
        handle.wait_until(|status| status.pending_bytes > 0).await;
        handle.pause();
        script.open();
        handle.wait_until(|status| status.state == RelayState::Paused).await;
        assert!(world.published_keys().len() >= 20);
        world.assert_not_torn("paused");
        assert!(script.calls().iter().all(|call| *call == "publish" || *call == "resume"));
    };
    within(relay.run(shutdown)).await.expect("no fault");
    world.finish(Delivery::ExactlyOnce).await;
    world.assert_clean(Delivery::ExactlyOnce, "after a pause");
}

#[tokio::test]
async fn a_relay_shares_its_thread() {
    let world = World::new();
    for _ in 0..20_000 {
        world.database.commit(["a"]);
    }
    let publisher = MemoryPublisher::transactional(&world.broker, &world.feed);
    let relay = world.relay(world.source(), publisher);
    let handle = relay.handle();
    let relaying = tokio::spawn(relay.run(std::future::pending()));
    // Source and publisher are always ready: this task is only polled if the relay lets it.
    let early = handle.wait_until(|status| status.envelopes > 0).await;
    assert!(early.position < world.database.end(), "{early:?}");
    relaying.abort();
}
