//! The rules of the contract of a source.

use super::harness::{Capabilities, SourceHarness};
use super::{acknowledgement, capture, chunks, election, idle, restart, transactions};
use crate::conformance::report::Report;
use crate::conformance::rule;
use crate::conformance::rule::Check;

/// Checks every rule of [`Source`](crate::source::Source)'s contract that applies.
///
/// ```no_run
/// use change_feed::conformance::source::{self, SourceHarness};
/// use change_feed::conformance::NotConforming;
///
/// // #[tokio::test]
/// async fn my_source_keeps_the_contract(harness: &(dyn SourceHarness + 'static)) -> Result<(), NotConforming> {
///     source::run(harness).await.into_result().map(drop)
/// }
/// ```
pub async fn run(harness: &(dyn SourceHarness + 'static)) -> Report {
    rule::run(harness, &harness.capabilities(), &rules()).await
}

type Rule = rule::Rule<dyn SourceHarness, Capabilities>;

const EVERYTHING: &str = "origin-gives-everything";
const TWICE: &str = "nothing-twice";
const ORDER: &str = "order-per-key";
const LATE: &str = "no-loss-with-concurrent-writers";
const REPEATS: &str = "start-repeats-nothing";
const ENDS: &str = "every-end-can-be-started-from";
const GROW: &str = "positions-grow";
const KEPT: &str = "acknowledged-is-kept";
const ONE: &str = "one-is-elected";
const TAKES_OVER: &str = "standby-takes-over";

fn rules() -> Vec<Rule> {
    let always: fn(&Capabilities) -> _ = |_| None;
    vec![
        rule(EVERYTHING, &[], always, |h| Box::pin(capture::origin_gives_everything(h))),
        rule(TWICE, &[], always, |h| Box::pin(capture::nothing_twice(h))),
        rule("content-unchanged", &[], always, |h| Box::pin(capture::content_unchanged(h))),
        rule(ORDER, &[], always, |h| Box::pin(capture::order_per_key(h))),
        rule(
            LATE,
            &[EVERYTHING, ENDS, TAKES_OVER],
            |c| unless(c.concurrent_writers, "its database has one writer at a time"),
            |h| Box::pin(capture::no_loss_with_concurrent_writers(h)),
        ),
        rule("no-phantom", &[], always, |h| Box::pin(capture::no_phantom(h))),
        rule(REPEATS, &[TWICE, TAKES_OVER], always, |h| Box::pin(restart::start_repeats_nothing(h))),
        rule(ENDS, &[EVERYTHING, TAKES_OVER], always, |h| Box::pin(restart::every_end_can_be_started_from(h))),
        rule("start-again-rewinds", &[EVERYTHING, ENDS], always, |h| Box::pin(restart::start_again_rewinds(h))),
        rule(GROW, &[], always, |h| Box::pin(restart::positions_grow(h))),
        rule("transactions-come-whole", &[EVERYTHING, ORDER], always, |h| {
            Box::pin(transactions::transactions_come_whole(h))
        }),
        rule(
            "transaction-places-are-right",
            &[EVERYTHING, ORDER],
            |c| unless(c.tells_transactions, "it does not tell transactions"),
            |h| Box::pin(transactions::transaction_places_are_right(h)),
        ),
        rule(KEPT, &[TAKES_OVER], always, |h| Box::pin(acknowledgement::acknowledged_is_kept(h))),
        rule("acknowledge-never-goes-back", &[KEPT, TAKES_OVER], always, |h| {
            Box::pin(acknowledgement::acknowledge_never_goes_back(h))
        }),
        rule("equal-acknowledge-stores-identity", &[KEPT, TAKES_OVER], always, |h| {
            Box::pin(acknowledgement::equal_acknowledge_stores_identity(h))
        }),
        rule("dropped-next-loses-nothing", &[EVERYTHING, TWICE, ORDER], always, |h| {
            Box::pin(capture::dropped_next_loses_nothing(h))
        }),
        rule(ONE, &[], always, |h| Box::pin(election::one_is_elected(h))),
        rule(TAKES_OVER, &[EVERYTHING], always, |h| Box::pin(election::standby_takes_over(h))),
        rule("identity-is-stable", &[TAKES_OVER], always, |h| Box::pin(election::identity_is_stable(h))),
        rule("idle-is-quiet", &[GROW], always, |h| Box::pin(idle::idle_is_quiet(h))),
        rule("next-waits-for-commits", &[EVERYTHING], always, |h| Box::pin(idle::next_waits_for_commits(h))),
        rule(
            "position-past-the-end-is-refused",
            &[],
            |c| unless(c.refuses_positions_past_its_end, "it can't see the end of its database's history"),
            |h| Box::pin(restart::position_past_the_end_is_refused(h)),
        ),
        rule(
            "every-chunk-can-be-started-from",
            &[EVERYTHING, TWICE, REPEATS, ENDS, TAKES_OVER],
            |c| unless(c.gives_chunks, "it gives no chunks"),
            |h| Box::pin(chunks::every_chunk_can_be_started_from(h)),
        ),
        rule(
            "rejoin-gives-a-baseline",
            &[EVERYTHING, TWICE, LATE, REPEATS, ENDS, KEPT, TAKES_OVER],
            |c| unless(c.rejoins, "it can't rejoin"),
            |h| Box::pin(chunks::rejoin_gives_a_baseline(h)),
        ),
        rule(
            "lag-grows-with-commits",
            &[EVERYTHING, KEPT],
            |c| unless(c.tells_lag, "it does not tell how far it lags behind"),
            |h| Box::pin(chunks::lag_grows_with_commits(h)),
        ),
        rule("feeds-are-separate", &[KEPT, TAKES_OVER], always, |h| Box::pin(acknowledgement::feeds_are_separate(h))),
    ]
}

fn rule(
    name: &'static str,
    rests_on: &'static [&'static str],
    not_for: fn(&Capabilities) -> Option<&'static str>,
    check: Check<dyn SourceHarness>,
) -> Rule {
    Rule { name, rests_on, not_for, check }
}

fn unless(applies: bool, why: &'static str) -> Option<&'static str> {
    (!applies).then_some(why)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::rules;

    #[test]
    fn the_table_of_rules_names_each_of_them_and_no_other() {
        let rows = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! | `"));
        let documented: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        assert_eq!(documented, rules().iter().map(|rule| rule.name).collect());
    }

    #[test]
    fn a_rule_rests_on_rules_that_there_are() {
        let names: BTreeSet<&str> = rules().iter().map(|rule| rule.name).collect();
        for rule in rules() {
            assert!(rule.rests_on.iter().all(|name| names.contains(name) && *name != rule.name), "{}", rule.name);
        }
    }
}
