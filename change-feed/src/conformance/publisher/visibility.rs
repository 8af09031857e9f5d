//! What a reader sees of parts that are open, abandoned or of an older publisher.

use super::driver::{Batch, Driver, Resumed, named, times};
use super::harness::PublisherHarness;
use crate::conformance::rule::{Fault, broken, must};
use crate::publisher::PublishError;

/// None of a batch is visible.
async fn invisible(driver: &Driver, batch: &Batch, because: &str) -> Result<(), Fault> {
    let records = driver.records().await?;
    match batch.envelopes.iter().find(|envelope| times(&records, envelope) > 0) {
        Some(seen) => broken(format!("{} is visible, {because}", named(seen))),
        None => Ok(()),
    }
}

pub(super) async fn nothing_before_complete_end(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let resumed = driver.resumed().await?;
    for batch in [driver.continued(["a", "b", "a", "c"]), driver.continued(["a"])] {
        driver.publish(&resumed, &batch).await?;
        invisible(&driver, &batch, "though its transaction has not ended").await?;
    }
    Ok(())
}

pub(super) async fn resume_forgets_open_parts(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let resumed = driver.resumed().await?;
    driver.publish(&resumed, &driver.complete(["a", "b"])).await?;
    let abandoned = driver.continued(["a", "b", "c"]);
    driver.publish(&resumed, &abandoned).await?;

    let Resumed { publisher, .. } = resumed;
    let resumed = driver.resume(publisher).await?;
    let second = stays_forgotten(&driver, &resumed, &abandoned).await?;
    drop(resumed);
    let resumed = driver.resumed().await?;
    stays_forgotten(&driver, &resumed, &abandoned).await?;
    stays_forgotten(&driver, &resumed, &second).await?;
    Ok(())
}

/// Publishes something complete, after which nothing of `abandoned` is there; and then leaves
/// something else open.
async fn stays_forgotten(driver: &Driver, resumed: &Resumed, abandoned: &Batch) -> Result<Batch, Fault> {
    let complete = driver.complete(["d", "a"]);
    driver.publish(resumed, &complete).await?;
    driver.records_with(&complete.envelopes).await?;
    invisible(driver, abandoned, "though resume came before its transaction ended").await?;
    let open = driver.continued(["e"]);
    driver.publish(resumed, &open).await?;
    Ok(open)
}

pub(super) async fn resume_shuts_out_earlier_relays(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let older = driver.resumed().await?;
    driver.publish(&older, &driver.complete(["a", "b"])).await?;
    let open = driver.continued(["a"]);
    driver.publish(&older, &open).await?;

    let newer = driver.resumed().await?;
    let late = driver.complete(["b", "c"]);
    match driver.try_publish(&older, &late).await? {
        Err(PublishError::Fenced) => {}
        Ok(()) => return broken("an older publisher could publish after a newer one had resumed"),
        Err(error) => return broken(format!("an older publisher was answered {error:?} instead of Fenced")),
    }
    let present = driver.complete(["a", "d"]);
    driver.publish(&newer, &present).await?;
    driver.records_with(&present.envelopes).await?;
    for batch in [open, late] {
        invisible(&driver, &batch, "though its publisher was shut out").await?;
    }
    Ok(())
}

pub(super) async fn resume_compares_before_it_fences(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let fences = harness.capabilities().fences;
    let driver = Driver::open(harness).await?;
    let present = driver.resumed().await?;
    driver.publish(&present, &driver.complete(["a", "b"])).await?;

    let foreign = driver.publisher().await?;
    match driver.try_resume(&*foreign, &driver.foreign_source()).await? {
        Err(PublishError::Closed(_)) => {}
        // Who can't shut out the present one may have to wait for it.
        Err(PublishError::Transient(_)) if !fences => {}
        Err(error) => return broken(format!("the relay of another database was answered {error:?} instead of Closed")),
        Ok(_) => return broken("the relay of another database could resume"),
    }
    let batch = driver.complete(["a"]);
    let answer = driver.try_publish(&present, &batch).await?;
    must(answer.is_ok(), || format!("the relay of another database disturbed the present one: {answer:?}"))
}

pub(super) async fn feeds_are_separate(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let other = driver.other_feed();
    let one = driver.resumed().await?;
    let open = driver.continued(["a"]);
    driver.publish(&one, &open).await?;
    let two = other.resumed().await?;
    let theirs = other.complete(["a", "b"]);
    other.publish(&two, &theirs).await?;

    let rest = driver.complete(["a", "c"]);
    let answer = driver.try_publish(&one, &rest).await?;
    must(answer.is_ok(), || format!("a resume of another feed disturbed this one: {answer:?}"))?;
    let all: Vec<_> = [open, theirs, rest].into_iter().flat_map(|batch| batch.envelopes).collect();
    let records = driver.records_with(&all).await?;
    match all.iter().find(|envelope| times(&records, envelope) != 1) {
        Some(wrong) => broken(format!("{} is there {} times", named(wrong), times(&records, wrong))),
        None => Ok(()),
    }
}
