//! A relay that is frozen, and wakes up later.

use std::time::Duration;

use tokio::time::sleep;

use crate::assignment::{Capture, Mode};
use crate::process::RelayProcess;
use crate::relay::{FENCED, NOT_DRAINED, State};
use crate::world::{World, reports};
use test_support::eventually;
use test_support::required;

/// The active relay is frozen after so long at most.
const REIGN_MAX_MS: u64 = 700;
/// How long a relay on SQLite sleeps: longer than Kafka keeps its transaction open (10 s).
const SLEEP: Duration = Duration::from_secs(12);

/// The active relay of two is frozen (SIGSTOP) so often, and wakes up (SIGCONT) when much has changed.
///
/// PostgreSQL ends the silent session and the standby takes over; the one that wakes up is fenced, or stands by. On
/// SQLite the lock stays with the sleeper, nobody takes over, and it goes on where it was.
pub(crate) async fn freezes(capture: Capture, mode: Mode, count: u32) {
    let (database_url, brokers) = (required(capture.url_variable()), required("KAFKA_BROKERS"));
    let mut world = World::new(capture, mode, &database_url, &brokers).await;
    let load = world.load();
    let (mut active, mut standby) = (world.relay(), world.relay());
    let mut fenced = 0;
    for _ in 0..count {
        // Either of two that start at once may be first.
        if publishing_one(&active, &standby, 0).await == 1 {
            (active, standby) = (standby, active);
        }
        world.some_time(REIGN_MAX_MS).await;
        active.freeze();
        match capture {
            Capture::PostgresPoll | Capture::PostgresLog => {
                fenced += u32::from(standby_takes_over(&mut world, &mut active, &mut standby).await);
                (active, standby) = (standby, active);
            }
            Capture::Sqlite => {
                sleep(SLEEP).await;
                assert_eq!(standby.state(), State::Standby, "{}", standby.report());
                let published = active.status().envelopes;
                active.wake();
                assert_eq!(publishing_one(&active, &standby, published).await, 0, "it goes on");
            }
        }
    }
    let written = load.stop().await;
    written.assert_undisturbed();
    // What a sleeper had captured and not published, the other one has published.
    let ended = standby.terminate().await;
    assert!(matches!(ended.code(), Some(0 | NOT_DRAINED)), "{}", standby.report());
    world.drain(&mut active).await;
    let what_happened = format!("{count} times, {fenced} of them ended as fenced");
    world.conclude("a frozen relay that wakes up", &written, &what_happened).await;
}

/// Waits until one of two relays has published more than `published`, and tells which one.
async fn publishing_one(first: &RelayProcess, second: &RelayProcess, published: u64) -> usize {
    let publishing = async || {
        let more = |relay: &RelayProcess| relay.is_running() && relay.status().envelopes > published;
        if more(first) {
            return Ok(0);
        }
        if more(second) { Ok(1) } else { Err(format!("{:?} and {:?}", first.state(), second.state())) }
    };
    eventually("a relay publishes", publishing, || reports(&[first, second])).await
}

/// Wakes the sleeper when the standby has taken over, and tells whether it ended because it was fenced. One that did is
/// started again.
async fn standby_takes_over(world: &mut World, sleeper: &mut RelayProcess, standby: &mut RelayProcess) -> bool {
    let takes_over = async || {
        let status = standby.status();
        if standby.is_running() && status.envelopes > 0 { Ok(()) } else { Err(format!("{status:?}")) }
    };
    eventually("the standby takes over", takes_over, || reports(&[sleeper, standby])).await;
    world.some_time(REIGN_MAX_MS).await;
    sleeper.wake();
    let mut exit_code = None;
    let steps_back = async || {
        exit_code = sleeper.exit_code();
        match sleeper.state() {
            State::Standby => Ok(()),
            _ if exit_code.is_some() => Ok(()),
            state => Err(format!("it is {state:?}")),
        }
    };
    eventually("the sleeper steps back", steps_back, || standby.report()).await;
    let Some(code) = exit_code else { return false };
    assert_eq!(code, FENCED, "{}", sleeper.report());
    *sleeper = world.relay();
    true
}
