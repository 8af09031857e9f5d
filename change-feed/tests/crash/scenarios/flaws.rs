//! Relays that are broken on purpose: a harness that could not see them fail would prove nothing.

use change_feed::judge::{Delivery, FindingKind};

use crate::assignment::{Capture, Mode};
use crate::flaw::Flaw;
use crate::world::World;
use test_support::eventually;
use test_support::required;

const KILLS: u32 = 3;
const LIFE_MAX_MS: u64 = 500;

/// A relay that acknowledges too early loses events when it is killed; one without transactions, which acknowledges too
/// late, publishes some twice. The judge says so, and of nothing else.
pub(crate) async fn shows_its_flaw(capture: Capture) {
    for (flaw, kinds) in [
        // Of a transaction that was lost in part the rest is torn.
        (Flaw::AcknowledgesTooEarly, [FindingKind::Missing, FindingKind::Torn]),
        (Flaw::AcknowledgesTooLate, [FindingKind::Duplicated, FindingKind::Duplicated]),
    ] {
        let mut world = under_kills(capture, flaw).await;
        let history = world.history().await;
        world.read_to_end().await;
        let verdict = world.judge(&history, Delivery::ExactlyOnce);
        for kind in FindingKind::ALL {
            assert!(kinds.contains(&kind) || verdict.total(kind) == 0, "{flaw:?} is not seen as what it is: {verdict}");
        }
        let seen: u64 = verdict.total(kinds[0]);
        assert!(seen > 0, "{flaw:?} is not seen: {verdict}");
        if flaw == Flaw::AcknowledgesTooLate {
            let promised = world.judge(&history, Delivery::AtLeastOnce);
            assert!(promised.is_clean(), "more was not promised: {promised}");
            assert_eq!(promised.counts().redelivered, seen);
        }
        let what = verdict.to_string();
        world.report(&format!("{flaw:?}, as it should be: {}", what.lines().next().unwrap_or_default()));
        world.remove();
    }
}

/// A broken relay is killed a few times under load, and then a sound one publishes the rest.
async fn under_kills(capture: Capture, flaw: Flaw) -> World {
    let (database_url, brokers) = (required(capture.url_variable()), required("KAFKA_BROKERS"));
    let mut world = World::new(capture, Mode::Idempotent, &database_url, &brokers).await;
    let load = world.load();
    for _ in 0..KILLS {
        let mut relay = world.relay_with(flaw);
        let published = async || match relay.status() {
            status if status.envelopes > 0 => Ok(()),
            status => Err(format!("{status:?}")),
        };
        eventually("the broken relay publishes", published, || relay.report()).await;
        world.some_time(LIFE_MAX_MS).await;
        relay.kill().await;
    }
    load.stop().await;
    let mut relay = world.relay();
    world.publish_marker(&relay).await;
    let ended = relay.terminate().await;
    assert_eq!(ended.code(), Some(0), "{}", relay.report());
    world
}
