//! A relay that dies at each step.

use crate::assignment::{Capture, Mode};
use crate::death::{Death, Step};
use crate::servers::Site;
use crate::world::World;

use super::kills::nothing_is_torn;

/// A relay comes to a step so often at most before it dies there.
const PASSAGES_MAX: u32 = 10;
/// It stands there so long at most.
const LINGER_MAX_MS: u64 = 30;

/// A relay dies (`kill -9`) at each step so often, while writers write: on the servers that all tests share, or with so many
/// brokers of this scenario's own. L, P and O hold always, A and D with transactions.
pub(crate) async fn deaths(capture: Capture, mode: Mode, rounds: u32, own_brokers: Option<u32>) {
    let site = Site::choose("deaths", capture, mode, own_brokers).await;
    let mut world = World::new(capture, mode, &site.database_url, &site.brokers).await;
    let load = world.load();
    for _ in 0..rounds {
        for &step in Step::of(mode) {
            let (passage, linger_ms) = (world.rng.u32(1..=PASSAGES_MAX), world.rng.u64(0..=LINGER_MAX_MS));
            let death = Death { step, passage, linger_ms };
            let mut relay = world.relay_that_dies(death);
            relay.dies(death).await;
        }
    }
    if mode == Mode::Transactional {
        nothing_is_torn(&mut world).await;
    }
    let mut relay = world.relay();
    let written = load.stop().await;
    written.assert_undisturbed();
    world.drain(&mut relay).await;
    let what_happened =
        format!("{rounds} times at each of {:?}, on {} broker(s)", Step::of(mode), site.count_brokers());
    world.conclude("a relay that dies at a step", &written, &what_happened).await;
}
