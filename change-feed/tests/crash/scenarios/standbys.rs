//! Two relays at once: one is active, one stands by.

use std::time::{Duration, Instant};

use crate::assignment::{Capture, Mode};
use crate::process::RelayProcess;
use crate::relay::State;
use crate::world::{World, reports};
use test_support::eventually;
use test_support::required;

/// The active relay is killed after so long at most.
const REIGN_MAX_MS: u64 = 1_000;

/// Of two relays one is active and one stands by; the active one is killed so often, and the other takes over.
pub(crate) async fn standbys(capture: Capture, mode: Mode, count: u32) {
    let (database_url, brokers) = (required(capture.url_variable()), required("KAFKA_BROKERS"));
    let mut world = World::new(capture, mode, &database_url, &brokers).await;
    let load = world.load();
    let mut relays = [world.relay(), world.relay()];
    let mut takeovers = Vec::new();
    for _ in 0..count {
        let active = one_publishes_and_one_stands_by(&mut relays).await;
        world.some_time(REIGN_MAX_MS).await;
        let killed_at = Instant::now();
        relays[active].kill().await;
        takes_over(&relays[1 - active]).await;
        takeovers.push(killed_at.elapsed());
        relays[active] = world.relay();
    }
    let active = one_publishes_and_one_stands_by(&mut relays).await;
    let written = load.stop().await;
    written.assert_undisturbed();
    let [mut first, mut second] = relays;
    let (active, standby) = if active == 0 { (&mut first, &mut second) } else { (&mut second, &mut first) };
    // The standby first, which must end as well as the active one, and not take over meanwhile.
    let ended = standby.terminate().await;
    assert_eq!((ended.code(), standby.status().envelopes), (Some(0), 0), "{}", standby.report());
    world.drain(active).await;
    world
        .conclude("two relays at once", &written, &format!("{count} kills of the active one, {}", spread(takeovers)))
        .await;
}

/// Waits until a standby publishes.
async fn takes_over(standby: &RelayProcess) {
    let publishes = async || match standby.status().envelopes {
        0 => Err(format!("{:?}", standby.state())),
        _ => Ok(()),
    };
    eventually("the standby takes over", publishes, || standby.report()).await;
}

/// How long it took: from `kill -9` to the first commit of the standby. Told, and nothing is made of it.
fn spread(mut takeovers: Vec<Duration>) -> String {
    takeovers.sort();
    let (middle, longest) = (takeovers[takeovers.len() / 2], takeovers[takeovers.len() - 1]);
    format!("the standby published after p50 {middle:.1?}, at most {longest:.1?}")
}

/// Waits until one of them publishes and the other stands by, and tells which one. They never both run.
async fn one_publishes_and_one_stands_by(relays: &mut [RelayProcess; 2]) -> usize {
    let settled = async || {
        let [first, second] = &*relays;
        let (a, b) = (first.status(), second.status());
        assert!(!(first.is_running() && second.is_running()), "both run: {}", reports(&[first, second]));
        match (a.state, b.state) {
            (State::Running, State::Standby) if a.envelopes > 0 => Ok(0),
            (State::Standby, State::Running) if b.envelopes > 0 => Ok(1),
            states => Err(format!("{states:?}")),
        }
    };
    eventually("one relay publishes and one stands by", settled, || reports(&[&relays[0], &relays[1]])).await
}
