//! What can't be published is withheld or stops the relay: never in silence.

use change_feed::judge::Delivery;
use change_feed::{OnRejected, RelayError, RelayOptions};

use crate::relay::scripted::{Fault, Script, Scripted};
use crate::relay::world::{TOPIC, World, event_of, quick};

const LIMIT_BYTES: usize = 100;

/// Two keys, and one event of each that is too large for the broker: one in a large transaction.
fn world() -> World {
    let world = World::new();
    world.broker.limit_payloads(LIMIT_BYTES);
    world.database.commit([event_of("a", 10), event_of("b", 10)]);
    world.database.commit([event_of("a", LIMIT_BYTES + 1)]);
    world.database.commit((0..10).map(|n| event_of("b", if n == 5 { LIMIT_BYTES * 2 } else { 10 })));
    world.database.commit([event_of("a", LIMIT_BYTES)]);
    world
}

#[tokio::test]
async fn a_rejected_envelope_is_replaced_by_its_stub_in_its_place() {
    let world = world();
    let relay = world.relay(world.source(), world.transactional());
    let handle = relay.handle();
    world.run(relay).await.expect("withheld");
    world.assert_clean(Delivery::ExactlyOnce, "withheld");
    let records = world.broker.records(TOPIC);
    let stubs: Vec<_> = records.iter().filter(|record| record.envelope.withheld_reason().is_some()).collect();
    let shown = |at: usize| (stubs[at].envelope.key(), stubs[at].envelope.version(), stubs[at].envelope.data());
    assert_eq!(stubs.len(), 2);
    assert_eq!(shown(0), ("a", Some(2), &b""[..]));
    assert_eq!(shown(1), ("b", Some(7), &b""[..]));
    let reason = stubs[0].envelope.withheld_reason().expect("a stub");
    assert!(reason.contains("at most 100"), "{reason}");
    assert_eq!(handle.status().withheld, 2);
}

#[tokio::test]
async fn a_rejection_stops_the_relay_where_that_is_the_policy() {
    let world = world();
    let options = RelayOptions { on_rejected: OnRejected::Stop, ..quick() };
    let relay = world.relay(world.source(), world.transactional()).options(options);
    let stopped = world.run(relay).await.expect_err("stopped");
    let RelayError::Rejected { event_id, withheld: false, reason, .. } = &stopped else { panic!("{stopped:?}") };
    assert!(reason.contains("101 bytes"), "{reason}");
    let event_id = event_id.expect("an event").to_string();
    assert!(stopped.to_string().contains(&event_id), "{stopped}");
    world.assert_not_torn("stopped at a rejection");
    // The way back in: somebody raises the broker's limit.
    world.broker.limit_payloads(1000);
    world.finish(Delivery::ExactlyOnce).await;
    world.assert_clean(Delivery::ExactlyOnce, "after the limit was raised");
}

#[tokio::test]
async fn a_rejected_stub_stops_the_relay() {
    let world = World::loaded();
    let script = Script::new();
    script.fail("publish", Fault::Rejects);
    let relay = world.relay(world.source(), Scripted::new(world.transactional(), &script));
    let stopped = world.run(relay).await.expect_err("stopped");
    assert!(matches!(stopped, RelayError::Rejected { withheld: true, .. }), "{stopped:?}");
    assert!(stopped.to_string().contains("not even without its data"), "{stopped}");
}

#[tokio::test]
async fn a_publisher_that_rejects_everything_stops_the_relay() {
    let world = World::new();
    world.broker.limit_payloads(LIMIT_BYTES);
    world.database.commit((0..20).map(|_| event_of("a", LIMIT_BYTES + 1)));
    let options = RelayOptions { max_rejected_envelopes: 10, ..quick() };
    let relay = world.relay(world.source(), world.transactional()).options(options);
    let stopped = world.run(relay).await.expect_err("stopped");
    assert!(matches!(&stopped, RelayError::Fatal { what, .. } if what.contains("more than 10")), "{stopped:?}");
}

#[tokio::test]
async fn the_memory_of_rejections_is_bounded_by_what_is_not_yet_passed() {
    let world = World::new();
    world.broker.limit_payloads(LIMIT_BYTES);
    for _ in 0..50 {
        world.database.commit([event_of("a", LIMIT_BYTES + 1)]);
    }
    // Never more than one run's at a time, far more in all.
    let options = RelayOptions { max_rejected_envelopes: 3, ..quick() };
    let relay = world.relay(world.source(), world.transactional()).options(options);
    let handle = relay.handle();
    world.run(relay).await.expect("withheld");
    assert_eq!(handle.status().withheld, 50);
    world.assert_clean(Delivery::ExactlyOnce, "withheld");
}
