//! Outbox polling of PostgreSQL: the hard load ten times over, and servers that crash or are no primaries.

#[path = "long_postgres_poll/crash.rs"]
mod crash;
#[path = "long_postgres_poll/instance.rs"]
mod instance;
#[path = "postgres_poll/load.rs"]
mod load;
#[path = "postgres_poll/pollers.rs"]
mod pollers;
#[path = "long_postgres_poll/standby.rs"]
mod standby;
#[path = "postgres_poll/trial.rs"]
mod trial;
#[path = "postgres_poll/world.rs"]
mod world;

use std::io::Write as _;

/// Says what was counted, for the log of the run.
fn report(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("a place to write to");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_rounds_of_the_load_lose_and_invert_nothing() {
    for number in 1..=10 {
        let round = trial::round(3_000).await;
        let trial::Round { commits, windows, ours, others } = &round;
        report(&format!("round {number}, {commits} commits in {windows} windows: {ours:?}, {others:?}"));
        assert_eq!(round.ours, trial::Faults::default());
    }
}
