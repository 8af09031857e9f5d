//! Outbox polling of PostgreSQL: the hard load ten times over, and servers that crash or are no primaries.

use std::io::Write as _;

use super::trial;

/// Says what was counted, for the log of the run.
pub(super) fn report(line: &str) {
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
