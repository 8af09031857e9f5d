//! Envelopes that can't be published.

use bytes::Bytes;

use super::driver::{Batch, Driver, Resumed, named, times};
use super::harness::PublisherHarness;
use crate::conformance::rule::HarnessError;
use crate::conformance::rule::{Fault, broken, must};
use crate::feed::envelope::Envelope;
use crate::publisher::PublishError;
use crate::publisher::Rejection;

/// The indexes of the envelopes that can't be published.
const UNPUBLISHABLE: [usize; 2] = [2, 5];

fn rejected_payload(harness: &dyn PublisherHarness) -> Result<Bytes, Fault> {
    let named = harness.capabilities().rejected_payload;
    named.ok_or_else(|| Fault::Harness(HarnessError::from("no payload is named that is rejected")))
}

fn partly_unpublishable(driver: &Driver, payload: &Bytes) -> Batch {
    let mut envelopes = driver.envelopes(["a", "b"]);
    envelopes.push(driver.envelope("a", payload.clone()));
    envelopes.extend(driver.envelopes(["b", "a"]));
    envelopes.push(driver.envelope("c", payload.clone()));
    envelopes.extend(driver.envelopes(["c", "a"]));
    driver.completed(envelopes)
}

pub(super) async fn rejection_names_its_envelopes(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let payload = rejected_payload(harness)?;
    let driver = Driver::open(harness).await?;
    let mut resumed = driver.resumed().await?;
    let mut batch = partly_unpublishable(&driver, &payload);
    let mut withheld = Vec::new();
    while withheld.len() < UNPUBLISHABLE.len() {
        let rejections = rejected(&driver, &resumed, &batch).await?;
        for Rejection { index, reason } in &rejections {
            let is_right = UNPUBLISHABLE.contains(index) && !withheld.contains(index);
            must(is_right, || format!("envelope {index} was rejected ({reason}); it can be published"))?;
            batch.envelopes[*index] = batch.envelopes[*index].clone().withheld(reason);
            withheld.push(*index);
        }
        resumed = driver.resume(resumed.publisher).await?;
    }
    driver.publish(&resumed, &batch).await
}

pub(super) async fn rejected_part_is_invisible(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let payload = rejected_payload(harness)?;
    let driver = Driver::open(harness).await?;
    let resumed = driver.resumed().await?;
    let batch = partly_unpublishable(&driver, &payload);
    rejected(&driver, &resumed, &batch).await?;
    nothing_of(&driver, &batch.envelopes).await?;
    // What follows must not bring it to light.
    let resumed = driver.resume(resumed.publisher).await?;
    let next = driver.complete(["d"]);
    driver.publish(&resumed, &next).await?;
    driver.records_with(&next.envelopes).await?;
    nothing_of(&driver, &batch.envelopes).await
}

async fn rejected(driver: &Driver, resumed: &Resumed, batch: &Batch) -> Result<Vec<Rejection>, Fault> {
    match driver.try_publish(resumed, batch).await? {
        Err(PublishError::Rejected(rejections)) if !rejections.is_empty() => Ok(rejections),
        Err(PublishError::Transient(error)) => Err(Fault::Disturbed(format!("publish failed: {error}"))),
        answer => broken(format!("a part that can't be published was answered {answer:?} instead of Rejected")),
    }
}

async fn nothing_of(driver: &Driver, envelopes: &[Envelope]) -> Result<(), Fault> {
    let records = driver.records().await?;
    match envelopes.iter().find(|envelope| times(&records, envelope) > 0) {
        Some(seen) => broken(format!("{} is visible, though its part was rejected", named(seen))),
        None => Ok(()),
    }
}
