//! What pollers give under a load that is made to be hard, against what committed.

use crate::postgres_poll::pollers::Way;
use crate::postgres_poll::trial::{Faults, name, round};
use crate::postgres_poll::world::{PATIENCE, Version};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_inverted_under_the_load_under_which_other_pollers_lose_and_invert() {
    let first = tokio::time::timeout(4 * PATIENCE, round(3_000)).await.expect("the load ends");
    assert_eq!(first.ours, Faults::default());
    assert!(first.windows > 100, "{} windows of {} commits", first.windows, first.commits);
    let mut seen = first.others;
    // Once is enough to be wrong; should the machine have been too kind, it gets more chances.
    for _ in 0..5 {
        if seen.values().all(|faults| faults.lost + faults.inverted > 0) {
            break;
        }
        let again = round(600).await;
        assert_eq!(again.ours, Faults::default());
        for (way, faults) in again.others {
            let sum = seen.entry(way).or_default();
            (sum.lost, sum.inverted) = (sum.lost + faults.lost, sum.inverted + faults.inverted);
        }
    }
    assert!(seen[name(Way::AfterTheLastNumber)].lost > 0, "{seen:?}");
    assert!(seen[name(Way::AfterTheLastTransaction)].lost > 0, "{seen:?}");
    // It loses nothing in the end, but it waits for the oldest transaction of the whole server: that may be a test beside
    // this one, and after the end of this round.
    assert!(seen[name(Way::BelowTheOldestTransaction)].inverted > 0, "{seen:?}");
}

#[test]
fn the_checker_sees_a_loss_a_double_and_an_inversion() {
    let cart = uuid::Uuid::from_u128(1);
    let versions =
        |numbers: &[u64]| -> Vec<Version> { numbers.iter().map(|&version| Version { cart, version }).collect() };
    let history = versions(&[1, 2, 3]);
    let faults = |numbers| Faults::of(&versions(numbers), &history);
    assert_eq!(faults(&[1, 2, 3]), Faults::default());
    assert_eq!(faults(&[1, 3]), Faults { lost: 1, ..Faults::default() });
    assert_eq!(faults(&[1, 2, 3, 3]), Faults { doubled: 1, ..Faults::default() });
    assert_eq!(faults(&[2, 1, 3]), Faults { inverted: 1, ..Faults::default() });
}
