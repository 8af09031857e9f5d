//! A cluster of three brokers, of which one at a time is killed.

use crate::assignment::{Capture, Mode};
use crate::cluster::Cluster;
use crate::world::World;
use test_support::Instance;
use test_support::eventually;

const BROKERS: u32 = 3;
/// The writers write so long at most between two faults.
const CALM_MAX_MS: u64 = 1_500;

/// Of three brokers each is killed (`kill -9`) in turn, so often, and so often the one that coordinates the feed's
/// transactions, while commits go on. The lag returns to 0 while the broker is away, and again when it is back, with
/// nobody's help (V).
pub(crate) async fn broker_kills(capture: Capture, mode: Mode, in_turn: u32, coordinators: u32) {
    let servers = Instance::with_brokers(&format!("crash-brokers-{capture:?}-{mode:?}").to_lowercase(), BROKERS).await;
    let cluster = Cluster::new(servers.brokers());
    let mut world = World::new(capture, mode, servers.url(capture.url_variable()), servers.brokers()).await;
    let load = world.load();
    let mut relay = world.relay();
    world.catch_up(&[&relay]).await;
    for broker in (0..in_turn).flat_map(|_| 1..=BROKERS) {
        one_is_away(&mut world, &servers, &cluster, broker).await;
        assert!(!relay.has_ended(), "nobody starts it again: {}", relay.report());
    }
    let id = world.transactional_id();
    let mut moves = Vec::new();
    for _ in 0..coordinators {
        let found = async || cluster.coordinator(&id).await;
        let first = eventually("the feed has a coordinator", found, || relay.report()).await;
        one_is_away(&mut world, &servers, &cluster, first).await;
        assert!(!relay.has_ended(), "nobody starts it again: {}", relay.report());
        let next = eventually("the feed has a coordinator", found, || relay.report()).await;
        moves.push(format!("{first} to {next}"));
    }
    let written = load.stop().await;
    written.assert_undisturbed();
    world.drain(&mut relay).await;
    let what_happened = format!("{in_turn} times each in turn; {coordinators} coordinators, which moved {moves:?}");
    world.conclude("one of three brokers killed", &written, &what_happened).await;
}

async fn one_is_away(world: &mut World, servers: &Instance, cluster: &Cluster, broker: u32) {
    // With a second one away the rest would refuse to write.
    eventually("the cluster is whole", async || cluster.is_whole().await, String::new).await;
    world.some_time(CALM_MAX_MS).await;
    let server = format!("kafka-{broker}");
    servers.tell("kill", &server).await;
    world.catch_up(&[]).await;
    servers.tell("start", &server).await;
    world.catch_up(&[]).await;
}
