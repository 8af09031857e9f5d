//! Servers that go away under load, and come back.

use std::fmt;

use crate::assignment::{Capture, Mode};
use crate::world::World;
use test_support::Instance;

/// The writers write so long at most between two faults, and a server is away so long at most.
const CALM_MAX_MS: u64 = 1_500;
/// While the broker is away so many transactions commit before it comes back.
const COMMITS_MEANWHILE: u64 = 50;

/// What happens to a server before it is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    BrokerStopped,
    BrokerKilled,
    PostgresStopped,
    /// An immediate shutdown: recovery at the next start, and commits that were answered early may be gone.
    PostgresKilled,
}

impl Fault {
    pub(crate) fn command(self) -> (&'static str, &'static str) {
        match self {
            Self::BrokerStopped => ("stop", "kafka"),
            Self::BrokerKilled => ("kill", "kafka"),
            Self::PostgresStopped => ("stop", "postgres"),
            Self::PostgresKilled => ("kill", "postgres"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (command, server) = self.command();
        write!(f, "{command} {server}")
    }
}

/// Each fault happens so often, one after the other, on servers of this scenario's own, so many brokers among them. After
/// each fault the lag returns to 0 with nobody's help (V); orders go on while the broker is away.
pub(crate) async fn outages(capture: Capture, mode: Mode, faults: &[Fault], rounds: u32, brokers: u32) {
    let servers =
        Instance::with_brokers(&format!("crash-{brokers}-{capture:?}-{mode:?}").to_lowercase(), brokers).await;
    let mut world = World::new(capture, mode, servers.url(capture.url_variable()), servers.brokers()).await;
    let load = world.load();
    let mut relay = world.relay();
    world.catch_up(&[&relay]).await;
    let mut happened = Vec::new();
    for round in 0..rounds {
        for &fault in faults {
            world.some_time(CALM_MAX_MS).await;
            let (command, server) = fault.command();
            servers.tell(command, server).await;
            let before = load.commits();
            world.some_time(CALM_MAX_MS).await;
            if server == "kafka" {
                let go_on = async || match load.commits() - before {
                    commits if commits >= COMMITS_MEANWHILE => Ok(()),
                    commits => Err(format!("{commits} commits")),
                };
                test_support::eventually("writers go on without the broker", go_on, String::new).await;
            }
            servers.tell("start", server).await;
            world.catch_up(&[&relay]).await;
            assert!(!relay.has_ended(), "nobody starts it again: {}", relay.report());
            if round == 0 {
                happened.push(fault.to_string());
            }
        }
    }
    let written = load.stop().await;
    world.drain(&mut relay).await;
    let what_happened = format!("{rounds} times each: {}; {brokers} broker(s)", happened.join(", "));
    world.conclude("servers that go away under load", &written, &what_happened).await;
}
