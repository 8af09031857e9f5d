//! One active relay, and one that stands by.

use change_feed::judge::Delivery;
use change_feed::memory::MemoryPublisher;
use change_feed::{RelayError, RelayState};

use crate::relay::scripted::{Fault, Script, Scripted};
use crate::relay::world::{World, settle, within};

#[tokio::test]
async fn a_standby_takes_over_when_the_active_relay_stops() {
    let world = World::loaded();
    let first = world.relay(world.source(), world.transactional());
    let second = world.relay(world.source(), world.transactional());
    let (one, two) = (first.handle(), second.handle());
    let first = first.run(async {
        one.wait_until(|status| status.position >= world.database.end()).await;
        two.wait_until(|status| status.state == RelayState::Standby).await;
    });
    let second = second.run(async {
        one.wait_until(|status| status.state == RelayState::Stopped).await;
        world.database.commit(["a", "b"]);
        two.wait_until(|status| status.position >= world.database.end()).await;
    });
    let (first, second) = within(Box::pin(async { tokio::join!(first, second) })).await;
    assert!(first.expect("no fault").drained);
    assert_eq!(second.expect("no fault").position, world.database.end());
    world.assert_clean(Delivery::ExactlyOnce, "after a takeover");
}

#[tokio::test]
async fn a_relay_that_lost_its_election_stands_by_and_comes_back() {
    let world = World::loaded();
    let relay = world.relay(world.source(), world.transactional());
    let handle = relay.handle();
    let shutdown = async {
        for _ in 0..10 {
            handle.wait_until(|status| status.position >= world.database.end()).await;
            world.database.depose(&world.feed);
            world.database.commit(["a"]);
        }
        handle.wait_until(|status| status.position >= world.database.end()).await;
    };
    within(relay.run(shutdown)).await.expect("it comes back");
    world.assert_clean(Delivery::ExactlyOnce, "after lost elections");
}

#[tokio::test]
async fn a_frozen_relay_that_wakes_up_is_fenced() {
    let world = World::loaded();
    let script = Script::new();
    script.close("publish");
    // Its connection to the source is frozen too: it doesn't learn that it was deposed.
    let frozen_source = Script::failing_at(4, Fault::Hangs);
    let frozen =
        world.relay(Scripted::new(world.source(), &frozen_source), Scripted::new(world.transactional(), &script));
    let handle = frozen.handle();
    let frozen = frozen.run(std::future::pending());
    let meanwhile = async {
        handle.wait_until(|status| status.pending_bytes > 0).await;
        settle().await;
        world.database.depose(&world.feed);
        world.finish(Delivery::ExactlyOnce).await;
        script.open();
    };
    let (ended, ()) = within(Box::pin(async { tokio::join!(frozen, meanwhile) })).await;
    assert!(matches!(ended, Err(RelayError::Fenced)), "{ended:?}");
    world.assert_clean(Delivery::ExactlyOnce, "after a frozen relay woke up");
}

#[tokio::test]
async fn every_way_out_gives_the_election_up() {
    for fault in [None, Some(Fault::Fatal), Some(Fault::Fenced)] {
        let world = World::loaded();
        let script = Script::new();
        if let Some(fault) = fault {
            script.fail("publish", fault);
        }
        let source = std::sync::Arc::new(Scripted::new(world.source(), &script));
        let relay = world.relay(std::sync::Arc::clone(&source), Scripted::new(world.transactional(), &script));
        let _ = world.run(relay).await;
        assert_eq!(script.calls().last(), Some(&"release"));
        // The source still exists, and yet another one is elected.
        world.finish(Delivery::ExactlyOnce).await;
        drop(source);
    }
}

#[tokio::test]
async fn a_publisher_is_told_of_each_election_until_it_has_answered() {
    let world = World::loaded();
    // The first resume fails.
    let script = Script::failing_at(1, Fault::Away);
    let relay = world.relay(Scripted::new(world.source(), &script), Scripted::new(world.transactional(), &script));
    let handle = relay.handle();
    let shutdown = async {
        handle.wait_until(|status| status.position >= world.database.end()).await;
        script.fail("publish", Fault::AnswerLost);
        world.database.commit(["a"]);
        handle.wait_until(|status| matches!(status.state, RelayState::Retrying { .. })).await;
        script.heal();
        handle.wait_until(|status| status.position >= world.database.end()).await;
        world.database.depose(&world.feed);
        world.database.commit(["a"]);
        handle.wait_until(|status| status.position >= world.database.end()).await;
    };
    within(relay.run(shutdown)).await.expect("no fault");
    let told = script.newly_elected();
    // A publisher that fails is resumed in the same election, however often.
    assert!(
        matches!(&told[..], [true, true, same @ .., true] if !same.is_empty() && !same.contains(&true)),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_session_makes_its_calls_in_the_order_that_is_safe() {
    let world = World::loaded();
    let script = Script::new();
    let source = Scripted::new(world.source(), &script);
    let relay = world.relay(source, Scripted::new(world.transactional(), &script));
    world.run(relay).await.expect("no fault");
    assert_eq!(script.calls()[..5], ["elect", "resume", "start", "acknowledge", "next"]);
}

#[tokio::test]
async fn where_no_position_is_kept_the_source_decides_and_this_relay_knows_better() {
    let world = World::loaded();
    let script = Script::new();
    let publisher = world.publisher(Delivery::AtLeastOnce);
    let relay = world.relay(Scripted::new(world.source(), &script), Scripted::new(publisher, &script));
    let handle = relay.handle();
    let shutdown = async {
        handle.wait_until(|status| status.position >= world.database.end()).await;
        script.fail("acknowledge", Fault::Away);
        world.database.commit(["a"]);
        handle.wait_until(|status| matches!(status.state, RelayState::Retrying { attempt, .. } if attempt > 3)).await;
        script.heal();
        world.database.commit(["a"]);
        handle.wait_until(|status| status.position >= world.database.end()).await;
    };
    within(relay.run(shutdown)).await.expect("no fault");
    // Not even one is doubled, although the acknowledgement was lost.
    world.assert_clean(Delivery::ExactlyOnce, "after a lost acknowledgement");
    world.database.commit(["a"]);
    world.finish(Delivery::AtLeastOnce).await;
    world.assert_clean(Delivery::ExactlyOnce, "the source's position decides");
}

#[tokio::test]
async fn what_ends_with_the_process_is_published_from_the_origin_and_acknowledged_nowhere() {
    let world = World::loaded();
    let script = Script::new();
    script.fail("next", Fault::Away);
    let publisher = MemoryPublisher::ephemeral(&world.broker, &world.feed);
    let relay = world.relay(Scripted::new(world.source(), &script), publisher);
    let handle = relay.handle();
    let shutdown = async {
        handle.wait_until(|status| matches!(status.state, RelayState::Retrying { .. })).await;
        script.heal();
        handle.wait_until(|status| status.position >= world.database.end()).await;
        // A new session of the same process goes on where the last one ended.
        world.database.depose(&world.feed);
        world.database.commit(["a"]);
        handle.wait_until(|status| status.position >= world.database.end()).await;
    };
    within(relay.run(shutdown)).await.expect("no fault");
    world.assert_clean(Delivery::ExactlyOnce, "ephemeral");
    assert_eq!(script.count("acknowledge"), 0);
    assert_eq!(world.database.checkpoint(&world.feed), None);
    // The next process has an empty broker, and gets everything.
    let next = World { broker: change_feed::memory::MemoryBroker::new(), ..world };
    let relay = next.relay(next.source(), MemoryPublisher::ephemeral(&next.broker, &next.feed));
    next.run(relay).await.expect("nothing is compared");
    next.assert_clean(Delivery::ExactlyOnce, "ephemeral, another process");
}
