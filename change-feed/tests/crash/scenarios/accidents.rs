//! What happens to requests on the way to the cluster.

use crate::assignment::{Capture, Mode};
use crate::process::RelayProcess;
use crate::world::World;
use test_support::eventually;
use test_support::proxy::{Accident, Proxy};
use test_support::required;

/// The writers write so long at most between two accidents, and what follows an accident waits so long at most.
const CALM_MAX_MS: u64 = 700;

/// What follows an accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sequel {
    /// The relay goes on, and what was held back arrives.
    RelayGoesOn,
    /// The relay is killed first, and another one takes its place.
    RelayIsReplaced,
}

/// The way to the cluster is broken so often in each manner, while writers write. First of all a request that ends a
/// transaction is held back, and delivered in the midst of a later one.
pub(crate) async fn accidents(capture: Capture, rounds: u32) {
    let (database_url, brokers) = (required(capture.url_variable()), required("KAFKA_BROKERS"));
    let mut world = World::new(capture, Mode::Transactional, &database_url, &brokers).await;
    let proxy = Proxy::start(&brokers).await;
    world.reach_brokers_at(proxy.address());
    let load = world.load();
    let mut relay = world.relay();
    world.catch_up(&[&relay]).await;
    let of_commits = [Accident::Delayed, Accident::AnswerLost, Accident::Partitioned];
    let of_topics = [Accident::BrokersForgotten, Accident::TopicForgotten(".positions")];
    for _ in 0..rounds {
        for accident in of_commits {
            for sequel in [Sequel::RelayGoesOn, Sequel::RelayIsReplaced] {
                world.some_time(CALM_MAX_MS).await;
                happens(accident, &proxy, &relay).await;
                follows(sequel, accident, &proxy, &mut relay, &mut world).await;
            }
        }
        for accident in of_topics {
            // Asked about when a relay starts.
            relay.kill().await;
            let before = proxy.accidents();
            proxy.prepare(accident);
            relay = world.relay();
            happened(accident, before, &proxy, &relay).await;
            follows(Sequel::RelayGoesOn, accident, &proxy, &mut relay, &mut world).await;
        }
    }
    assert!(!relay.has_ended(), "nobody starts it again: {}", relay.report());
    let written = load.stop().await;
    written.assert_undisturbed();
    world.drain(&mut relay).await;
    let what_happened = format!("{rounds} times, twice each: {of_commits:?}; {rounds} times each: {of_topics:?}");
    world.conclude("accidents on the way to the cluster", &written, &what_happened).await;
}

async fn happens(accident: Accident, proxy: &Proxy, relay: &RelayProcess) {
    let before = proxy.accidents();
    proxy.prepare(accident);
    happened(accident, before, proxy, relay).await;
}

async fn happened(accident: Accident, before: usize, proxy: &Proxy, relay: &RelayProcess) {
    let happened = async || if proxy.accidents() > before { Ok(()) } else { Err("not yet".to_owned()) };
    eventually(&format!("{accident:?} happens"), happened, || relay.report()).await;
}

async fn follows(sequel: Sequel, accident: Accident, proxy: &Proxy, relay: &mut RelayProcess, world: &mut World) {
    if sequel == Sequel::RelayIsReplaced {
        relay.kill().await;
        *relay = world.relay();
    }
    world.some_time(CALM_MAX_MS).await;
    match accident {
        Accident::Delayed => {
            // In the midst of what is published now.
            relay.publishes_more().await;
            proxy.deliver_late().await;
        }
        Accident::Partitioned | Accident::BrokersForgotten => proxy.heal(),
        Accident::AnswerLost | Accident::TopicForgotten(_) => {}
    }
    world.catch_up(&[relay]).await;
}
