//! A relay that is told to end (SIGTERM).

use crate::assignment::{Assignment, Capture, Mode};
use crate::relay;
use crate::world::World;
use test_support::eventually;
use test_support::required;

/// A relay that is told to end publishes what it has captured, and exits with 0; the next one goes on without a
/// repetition. In a process that has an assignment: is that relay.
pub(crate) fn drains_when_told() {
    if let Some(assignment) = Assignment::of_this_process() {
        relay::run(&assignment);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(Box::pin(drains()));
}

async fn drains() {
    let (database_url, brokers) = (required("DATABASE_URL"), required("KAFKA_BROKERS"));
    let mut world = World::new(Capture::PostgresPoll, Mode::Transactional, &database_url, &brokers).await;
    let load = world.load();
    let mut relay = world.relay();
    for _ in 0..2 {
        let published = async || match relay.status().envelopes {
            0 => Err("nothing is published".to_owned()),
            _ => Ok(()),
        };
        eventually("the relay publishes", published, || relay.report()).await;
        let ended = relay.terminate().await;
        assert_eq!(ended.code(), Some(0), "{}", relay.report());
        relay = world.relay();
    }
    let written = load.stop().await;
    written.assert_undisturbed();
    world.drain(&mut relay).await;
    world.conclude("a relay that is told to end", &written, "told 3 times").await;
}
