//! The suites on the sources and publishers in memory, and on broken ones: each of those breaks
//! exactly its rule.

mod broken_publishers;
mod broken_sources;
mod memory_publisher;
mod memory_source;

use std::collections::BTreeSet;

use broken_publishers::Flaw;
use broken_sources::Defect;
use change_feed::conformance::{NotConforming, Report, publisher, source};
use futures::{StreamExt as _, stream};
use memory_publisher::{Memory, Mode};
use memory_source::MemoryOutbox;

#[tokio::test]
async fn the_transactional_publisher_in_memory_keeps_every_rule() -> Result<(), NotConforming> {
    let report = publisher::run(&Memory::new(Mode::Transactional)).await.into_result()?;
    assert_eq!(report.not_applicable().count(), 0, "{report}");
    Ok(())
}

#[tokio::test]
async fn the_idempotent_publisher_in_memory_keeps_the_rules_that_apply() -> Result<(), NotConforming> {
    let report = publisher::run(&Memory::new(Mode::Idempotent)).await.into_result()?;
    let not_applicable: Vec<_> = report.not_applicable().collect();
    let of_transactions = [
        "nothing-before-complete-end",
        "resume-forgets-open-parts",
        "resume-shuts-out-earlier-relays",
        "resume-compares-before-it-fences",
    ];
    assert_eq!(not_applicable, of_transactions, "{report}");
    Ok(())
}

#[tokio::test]
async fn the_ephemeral_publisher_in_memory_keeps_the_rules_that_apply() -> Result<(), NotConforming> {
    let report = publisher::run(&Memory::new(Mode::Ephemeral)).await.into_result()?;
    assert!(report.not_applicable().eq(["resume-compares-before-it-fences"]), "{report}");
    Ok(())
}

#[tokio::test]
async fn the_source_in_memory_keeps_every_rule() -> Result<(), NotConforming> {
    let report = source::run(&MemoryOutbox::new()).await.into_result()?;
    assert_eq!(report.not_applicable().count(), 0, "{report}");
    Ok(())
}

#[tokio::test]
async fn the_source_in_memory_keeps_every_rule_when_it_gives_transactions_in_pieces() -> Result<(), NotConforming> {
    source::run(&MemoryOutbox::in_runs_of(2)).await.into_result().map(drop)
}

/// The rules that a report shows as broken.
fn broken(report: &Report) -> Vec<&'static str> {
    report.broken().map(|broken| broken.rule).collect()
}

/// The reports of those that did not break exactly their rule.
async fn some_at_a_time(checks: impl IntoIterator<Item = impl Future<Output = Option<String>>>) -> Vec<String> {
    stream::iter(checks).buffer_unordered(6).filter_map(std::future::ready).collect().await
}

/// A rule that nobody breaks may be one that can't be broken.
fn assert_each_rule_is_broken<const N: usize>(report: &Report, broken: [&str; N]) {
    let rules: BTreeSet<&str> = report.outcomes().iter().map(|outcome| outcome.rule).collect();
    assert_eq!(rules, broken.into_iter().collect());
}

/// Each broken publisher, and the one rule that it breaks.
#[tokio::test]
async fn each_broken_publisher_breaks_exactly_its_rule() {
    let flaws = [
        (Flaw::DropsAnEnvelope, "durable-at-complete-end"),
        (Flaw::PublishesTwice, "nothing-twice"),
        (Flaw::Reorders, "order-per-key"),
        (Flaw::ChoosesPartitionsByTurn, "partition-per-key"),
        (Flaw::ChangesAHeader, "content-unchanged"),
        (Flaw::ChangesPayloads, "content-unchanged"),
        (Flaw::UnmarksStubs, "withheld-stub-passes"),
        (Flaw::TakesEmptyForNull, "withheld-stub-passes"),
        (Flaw::TakesNullForEmpty, "tombstone-is-null"),
        (Flaw::IgnoresEmptyParts, "empty-part-is-taken"),
        (Flaw::MovesThePositionFirst, "dropped-publish-loses-nothing"),
        (Flaw::AnswersAnOlderPosition, "resume-answers-last-position"),
        (Flaw::AnswersNoPosition, "resume-answers-last-position"),
        (Flaw::ShowsPieces, "nothing-before-complete-end"),
        (Flaw::ForgetsToAbort, "resume-forgets-open-parts"),
        (Flaw::DoesNotFence, "resume-shuts-out-earlier-relays"),
        (Flaw::FencesBeforeItCompares, "resume-compares-before-it-fences"),
        (Flaw::NeverCompares, "resume-compares-before-it-fences"),
        (Flaw::MixesIndexes, "rejection-names-its-envelopes"),
        (Flaw::ShowsWhatPrecedesARejection, "rejected-part-is-invisible"),
        (Flaw::RemembersItsPosition, "lost-answer-is-no-duplicate"),
        (Flaw::SharesOnePosition, "feeds-are-separate"),
    ];
    assert_each_rule_is_broken(&publisher::run(&Memory::new(Mode::Transactional)).await, flaws.map(|(_, rule)| rule));
    let checks = flaws.map(|(flaw, rule)| async move {
        let report = publisher::run(&Memory::with(flaw)).await;
        (broken(&report) != [rule]).then(|| format!("{flaw:?} should break {rule}:\n{report}"))
    });
    let wrong: Vec<String> = Box::pin(some_at_a_time(checks)).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Each broken source, and the one rule that it breaks.
#[tokio::test]
async fn each_broken_source_breaks_exactly_its_rule() {
    let defects = [
        (Defect::SkipsAChange, "origin-gives-everything"),
        (Defect::GivesTwice, "nothing-twice"),
        (Defect::ChangesPayloads, "content-unchanged"),
        (Defect::Reorders, "order-per-key"),
        (Defect::PassesOverLateCommits, "no-loss-with-concurrent-writers"),
        (Defect::GivesWhatRolledBack, "no-phantom"),
        (Defect::RepeatsAtStart, "start-repeats-nothing"),
        (Defect::StartsLate, "every-end-can-be-started-from"),
        (Defect::IgnoresASecondStart, "start-again-rewinds"),
        (Defect::PlacesChangesPastTheEnd, "positions-grow"),
        (Defect::EndsInsideTransactions, "transactions-come-whole"),
        (Defect::CountsWrongly, "transaction-places-are-right"),
        (Defect::ForgetsAcknowledgements, "acknowledged-is-kept"),
        (Defect::AcknowledgesBackwards, "acknowledge-never-goes-back"),
        (Defect::KeepsTheFirstIdentity, "equal-acknowledge-stores-identity"),
        (Defect::LosesOnDrop, "dropped-next-loses-nothing"),
        (Defect::LosesWhileItConfirms, "dropped-next-loses-nothing"),
        (Defect::ElectsEveryone, "one-is-elected"),
        (Defect::NeverLetsGo, "standby-takes-over"),
        (Defect::IgnoresRelease, "standby-takes-over"),
        (Defect::ChangesItsIdentity, "identity-is-stable"),
        (Defect::EchoesAcknowledgements, "idle-is-quiet"),
        (Defect::SleepsThroughCommits, "next-waits-for-commits"),
        (Defect::StartsAnywhere, "position-past-the-end-is-refused"),
        (Defect::SharesOneCheckpoint, "feeds-are-separate"),
        (Defect::SkipsChunksAtStart, "every-chunk-can-be-started-from"),
        (Defect::ForgetsARejoin, "rejoin-gives-a-baseline"),
        (Defect::TellsNoLag, "lag-grows-with-commits"),
    ];
    assert_each_rule_is_broken(&source::run(&MemoryOutbox::new()).await, defects.map(|(_, rule)| rule));
    let checks = defects.map(|(defect, rule)| async move {
        let report = source::run(&MemoryOutbox::with(defect)).await;
        (broken(&report) != [rule]).then(|| format!("{defect:?} should break {rule}:\n{report}"))
    });
    let wrong: Vec<String> = Box::pin(some_at_a_time(checks)).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
