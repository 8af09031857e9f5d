//! A relay that is killed at random moments.

use std::collections::BTreeMap;

use change_feed::judge::FindingKind;

use crate::assignment::{Capture, Mode};
use crate::process::RelayProcess;
use crate::relay::State;
use crate::servers::Site;
use crate::world::World;
use test_support::eventually;

/// A relay lives so long at most before it is killed.
const LIFE_MAX_MS: u64 = 1_500;

/// A relay is killed (`kill -9`) so often, at moments at random, while writers write: on the servers that all tests share,
/// or with so many brokers of this scenario's own.
///
/// L, P and O hold always, D with transactions. A: what a killed relay leaves behind, once its open transaction is
/// decided, holds no transaction in part.
pub(crate) async fn kills(capture: Capture, mode: Mode, count: u32, own_brokers: Option<u32>) {
    let site = Site::choose("kills", capture, mode, own_brokers).await;
    let mut world = World::new(capture, mode, &site.database_url, &site.brokers).await;
    let load = world.load();
    let mut killed_while = BTreeMap::new();
    for kill in 1..=count {
        let mut relay = world.relay();
        // Every second one may die while it starts.
        if kill % 2 == 0 {
            wait_until_running(&relay).await;
        }
        world.some_time(LIFE_MAX_MS).await;
        *killed_while.entry(relay.state()).or_insert(0) += 1;
        relay.kill().await;
    }
    if mode == Mode::Transactional {
        nothing_is_torn(&mut world).await;
    }
    let mut relay = world.relay();
    let written = load.stop().await;
    written.assert_undisturbed();
    world.drain(&mut relay).await;
    let what_happened = format!("{count} kills {}, on {} broker(s)", list(&killed_while), site.count_brokers());
    world.conclude("a relay killed at random moments", &written, &what_happened).await;
}

async fn wait_until_running(relay: &RelayProcess) {
    let running = async || if relay.is_running() { Ok(()) } else { Err(format!("{:?}", relay.state())) };
    eventually("the relay runs", running, || relay.report()).await;
}

/// Some events are not published yet; those that are, are whole transactions, once and in order.
pub(super) async fn nothing_is_torn(world: &mut World) {
    world.read_to_end().await;
    // Read after the topic: what was published had committed before.
    let history = world.history().await;
    let verdict = world.judge(&history, world.mode.delivery());
    let others = FindingKind::ALL.into_iter().filter(|&kind| kind != FindingKind::Missing);
    let violations: u64 = others.map(|kind| verdict.total(kind)).sum();
    assert_eq!(violations, 0, "a killed relay left this behind: {verdict}");
}

fn list(killed_while: &BTreeMap<State, u32>) -> String {
    let counts: Vec<String> = killed_while.iter().map(|(state, count)| format!("{count} {state:?}")).collect();
    format!("({})", counts.join(", "))
}
