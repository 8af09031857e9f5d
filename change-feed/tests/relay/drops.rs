//! The future of a relay is dropped, or told to shut down, at every await point.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use change_feed::judge::Delivery;
use change_feed::{Relay, RelayState};

use crate::relay::scripted::{Script, Scripted};
use crate::relay::world::{World, quick, within};

/// A loaded world and a relay that yields at every step and makes small parts.
fn world_and_relay(
    delivery: Delivery,
) -> (World, Relay<Scripted<change_feed::memory::MemorySource>, Scripted<change_feed::memory::MemoryPublisher>>) {
    let world = World::loaded();
    let script = Script::new();
    let source = Scripted::new(world.source(), &script);
    let publisher = Scripted::new(world.publisher(delivery), &script);
    let options = change_feed::RelayOptions { max_part_envelopes: 4, ..quick() };
    let relay = world.relay(source, publisher).options(options);
    (world, relay)
}

/// Completes when it is polled for the time with this number.
fn at_poll(number: usize) -> impl Future<Output = ()> {
    let mut polls = 0;
    poll_fn(move |context| {
        polls += 1;
        if polls > number {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

async fn dropped_at(delivery: Delivery, polls: usize) -> bool {
    let (world, relay) = world_and_relay(delivery);
    let handle = relay.handle();
    {
        let mut run = pin!(relay.run(std::future::pending()));
        for _ in 0..polls {
            assert!(futures::poll!(run.as_mut()).is_pending());
        }
    }
    let circumstances = format!("{delivery:?}, dropped after {polls} polls");
    let finished = handle.status().position >= world.database.end();
    assert_eq!(handle.status().state, RelayState::Stopped);
    if delivery == Delivery::ExactlyOnce {
        world.assert_not_torn(&circumstances);
    }
    world.finish(delivery).await;
    world.assert_clean(delivery, &circumstances);
    finished
}

#[tokio::test]
async fn a_relay_that_is_dropped_anywhere_loses_nothing_and_doubles_nothing() {
    for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
        let mut polls = 0;
        while !dropped_at(delivery, polls).await {
            polls += 1;
        }
        assert!(polls > 20, "{polls} polls");
    }
}

async fn shut_down_at(delivery: Delivery, polls: usize) -> bool {
    let (world, relay) = world_and_relay(delivery);
    let stopped = within(relay.run(at_poll(polls))).await.expect("no fault");
    let circumstances = format!("{delivery:?}, shut down at poll {polls}: {stopped:?}");
    if delivery == Delivery::ExactlyOnce {
        world.assert_not_torn(&circumstances);
        let published = world.broker.checkpoint(&world.feed).map(|checkpoint| checkpoint.position);
        assert_eq!(published.unwrap_or(change_feed::Position::ORIGIN), stopped.position, "{circumstances}");
    }
    if stopped.position > change_feed::Position::ORIGIN {
        let acknowledged = world.database.checkpoint(&world.feed).expect("enrolled");
        assert_eq!(acknowledged.position, stopped.position, "{circumstances}");
    }
    let finished = stopped.position == world.database.end();
    world.finish(delivery).await;
    world.assert_clean(delivery, &circumstances);
    finished
}

#[tokio::test]
async fn a_shutdown_anywhere_ends_at_a_complete_and_acknowledged_position() {
    for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
        let mut polls = 0;
        while !shut_down_at(delivery, polls).await {
            polls += 1;
        }
        assert!(polls > 20, "{polls} polls");
    }
}
