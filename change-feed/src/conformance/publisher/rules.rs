//! The rules of the contract of a publisher.

use super::harness::{Capabilities, PublisherHarness};
use super::{content, delivery, interruption, position, rejection, visibility};
use crate::conformance::report::Report;
use crate::conformance::rule;
use crate::conformance::rule::Check;

/// Checks every rule of [`Publisher`](crate::publisher::Publisher)'s contract that applies.
///
/// ```
/// use std::sync::Arc;
///
/// use async_trait::async_trait;
/// use change_feed::conformance::publisher::{Capabilities, Destination, PublisherHarness, SeenRecord};
/// use change_feed::conformance::{HarnessError, NotConforming, publisher};
/// use change_feed::memory::{MemoryBroker, MemoryPublisher};
/// use change_feed::{FeedName, Publisher};
///
/// struct Memory;
///
/// #[async_trait]
/// impl PublisherHarness for Memory {
///     fn capabilities(&self) -> Capabilities {
///         Capabilities::new().keeps_position().transactional().fences().publishes_rows()
///     }
///
///     async fn destination(&self) -> Result<Box<dyn Destination>, HarnessError> {
///         Ok(Box::new(Broker(MemoryBroker::new())))
///     }
/// }
///
/// struct Broker(MemoryBroker);
///
/// #[async_trait]
/// impl Destination for Broker {
///     fn topic(&self) -> Arc<str> {
///         Arc::from("conformance")
///     }
///
///     async fn publisher(&self, feed: &FeedName) -> Result<Box<dyn Publisher>, HarnessError> {
///         Ok(Box::new(MemoryPublisher::transactional(&self.0, feed)))
///     }
///
///     async fn records(&self) -> Result<Vec<SeenRecord>, HarnessError> {
///         Ok(self.0.records(&self.topic()).iter().map(SeenRecord::from).collect())
///     }
/// }
///
/// // #[tokio::test]
/// async fn the_memory_publisher_keeps_the_contract() -> Result<(), NotConforming> {
///     publisher::run(&Memory).await.into_result().map(drop)
/// }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?
/// #     .block_on(the_memory_publisher_keeps_the_contract())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn run(harness: &(dyn PublisherHarness + 'static)) -> Report {
    rule::run(harness, &harness.capabilities(), &rules()).await
}

type Rule = rule::Rule<dyn PublisherHarness, Capabilities>;

const DURABLE: &str = "durable-at-complete-end";
const TWICE: &str = "nothing-twice";
const ORDER: &str = "order-per-key";
const DROPPED: &str = "dropped-publish-loses-nothing";
const FORGETS: &str = "resume-forgets-open-parts";
const ANSWERS: &str = "resume-answers-last-position";
const FENCES: &str = "resume-shuts-out-earlier-relays";
const OPEN_IS_INVISIBLE: &str = "nothing-before-complete-end";
const NAMES: &str = "rejection-names-its-envelopes";

fn rules() -> Vec<Rule> {
    let always: fn(&Capabilities) -> _ = |_| None;
    vec![
        rule(DURABLE, &[], always, |h| Box::pin(delivery::durable_at_complete_end(h))),
        rule(TWICE, &[], always, |h| Box::pin(delivery::nothing_twice(h))),
        rule(ORDER, &[], always, |h| Box::pin(delivery::order_per_key(h))),
        rule("partition-per-key", &[], always, |h| Box::pin(delivery::partition_per_key(h))),
        rule("content-unchanged", &[DURABLE], always, |h| Box::pin(content::content_unchanged(h))),
        rule("withheld-stub-passes", &[DURABLE, "content-unchanged"], always, |h| {
            Box::pin(content::withheld_stub_passes(h))
        }),
        rule(
            "tombstone-is-null",
            &[DURABLE, "content-unchanged", "withheld-stub-passes"],
            |c| unless(c.publishes_rows, "it publishes no rows"),
            |h| Box::pin(content::tombstone_is_null(h)),
        ),
        rule("empty-part-is-taken", &[TWICE, ANSWERS], always, |h| Box::pin(position::empty_part_is_taken(h))),
        rule(
            "dropped-publish-loses-nothing",
            &[DURABLE, TWICE, ORDER, FORGETS, ANSWERS, OPEN_IS_INVISIBLE],
            always,
            |h| Box::pin(interruption::dropped_publish_loses_nothing(h)),
        ),
        rule(ANSWERS, &[], always, |h| Box::pin(position::resume_answers_last_position(h))),
        rule(
            OPEN_IS_INVISIBLE,
            &[],
            |c| unless(c.transactional, "it is not transactional"),
            |h| Box::pin(visibility::nothing_before_complete_end(h)),
        ),
        rule(
            FORGETS,
            &[OPEN_IS_INVISIBLE],
            |c| unless(c.transactional || c.keeps_position, "what it was given may be visible"),
            |h| Box::pin(visibility::resume_forgets_open_parts(h)),
        ),
        rule(
            FENCES,
            &[OPEN_IS_INVISIBLE, FORGETS],
            |c| unless(c.fences, "it does not fence"),
            |h| Box::pin(visibility::resume_shuts_out_earlier_relays(h)),
        ),
        rule(
            "resume-compares-before-it-fences",
            &[ANSWERS],
            |c| unless(c.keeps_position, "it keeps no position to compare with"),
            |h| Box::pin(visibility::resume_compares_before_it_fences(h)),
        ),
        rule(NAMES, &[], rejects, |h| Box::pin(rejection::rejection_names_its_envelopes(h))),
        rule(
            "rejected-part-is-invisible",
            &[OPEN_IS_INVISIBLE, FORGETS],
            |c| rejects(c).or_else(|| unless(!c.may_show_rejected_parts, "its documented limits except this")),
            |h| Box::pin(rejection::rejected_part_is_invisible(h)),
        ),
        rule(
            "lost-answer-is-no-duplicate",
            &[DURABLE, TWICE, ORDER, ANSWERS, DROPPED],
            |c| unless(c.can_be_made_unavailable, "its harness can't make the destination unavailable"),
            |h| Box::pin(interruption::lost_answer_is_no_duplicate(h)),
        ),
        rule(
            "feeds-are-separate",
            &[DURABLE, TWICE],
            |c| unless(c.shared_by_feeds, "feeds don't share its destination"),
            |h| Box::pin(visibility::feeds_are_separate(h)),
        ),
    ]
}

fn rule(
    name: &'static str,
    rests_on: &'static [&'static str],
    not_for: fn(&Capabilities) -> Option<&'static str>,
    check: Check<dyn PublisherHarness>,
) -> Rule {
    Rule { name, rests_on, not_for, check }
}

fn unless(applies: bool, why: &'static str) -> Option<&'static str> {
    (!applies).then_some(why)
}

fn rejects(capabilities: &Capabilities) -> Option<&'static str> {
    unless(capabilities.rejected_payload.is_some(), "it rejects nothing that the harness knows of")
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
