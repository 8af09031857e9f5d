//! Loss, duplicates and order while nothing goes wrong.

use std::collections::{BTreeMap, HashSet};

use super::driver::{Batch, Driver, named, times};
use super::harness::{PublisherHarness, SeenRecord};
use crate::conformance::rule::{Fault, broken, must};
use crate::feed::envelope::Envelope;

/// Keys in an order in which each comes several times, at varying distances.
fn keys(count: usize) -> Vec<&'static str> {
    const KEYS: [&str; 7] = ["k0", "k1", "k2", "k3", "k4", "k5", "k6"];
    (0..count).map(|n| KEYS[(n * n + n / 5) % KEYS.len()]).collect()
}

/// A run of batches: large and small, in pieces and whole.
fn batches(driver: &Driver) -> Vec<Batch> {
    let keys = keys(60);
    vec![
        driver.complete(keys[..1].iter().copied()),
        driver.complete(keys[..60].iter().copied()),
        driver.continued(keys[..12].iter().copied()),
        driver.continued(keys[12..13].iter().copied()),
        driver.complete(keys[13..20].iter().copied()),
        driver.complete(keys[20..31].iter().copied()),
    ]
}

fn envelopes(batches: &[Batch]) -> Vec<Envelope> {
    batches.iter().flat_map(|batch| batch.envelopes.iter().cloned()).collect()
}

pub(super) async fn durable_at_complete_end(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let resumed = driver.resumed().await?;
    let mut given = Vec::new();
    for batch in batches(&driver) {
        driver.publish(&resumed, &batch).await?;
        given.extend(batch.envelopes.iter().cloned());
        if batch.end.position().is_some() {
            all_visible(&driver, &given).await?;
        }
    }
    drop(resumed);
    all_visible(&driver, &given).await
}

async fn all_visible(driver: &Driver, given: &[Envelope]) -> Result<(), Fault> {
    let records = driver.records_with(given).await?;
    match given.iter().find(|envelope| times(&records, envelope) == 0) {
        Some(lost) => broken(format!("{} was given before an Ok at a complete end, and is not there", named(lost))),
        None => Ok(()),
    }
}

/// Publishes a run and gives it with what a reader sees then.
async fn published(driver: &Driver) -> Result<(Vec<Envelope>, Vec<SeenRecord>), Fault> {
    let batches = batches(driver);
    let resumed = driver.resumed().await?;
    for batch in &batches {
        driver.publish(&resumed, batch).await?;
    }
    let given = envelopes(&batches);
    let records = driver.records_with(&given).await?;
    Ok((given, records))
}

pub(super) async fn nothing_twice(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let (given, records) = published(&driver).await?;
    none_twice(&given, &records)
}

pub(super) fn none_twice(given: &[Envelope], records: &[SeenRecord]) -> Result<(), Fault> {
    match given.iter().find(|envelope| times(records, envelope) > 1) {
        Some(twice) => broken(format!("{} is there {} times", named(twice), times(records, twice))),
        None => Ok(()),
    }
}

pub(super) async fn order_per_key(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let (given, records) = published(&driver).await?;
    in_order(&given, &records)
}

/// The first records of a key's envelopes stand in the order in which those were given. What is
/// missing, and what went to another partition, is for other rules to find.
pub(super) fn in_order(given: &[Envelope], records: &[SeenRecord]) -> Result<(), Fault> {
    let mut last: BTreeMap<(u32, &str), (usize, &Envelope)> = BTreeMap::new();
    let mut seen = HashSet::new();
    for record in records {
        let Some((index, envelope)) = given.iter().enumerate().find(|(_, envelope)| record.is_of(envelope)) else {
            continue;
        };
        if !seen.insert(index) {
            continue;
        }
        let here = last.entry((record.partition, envelope.key())).or_insert((index, envelope));
        let (before, earlier) = *here;
        must(before <= index, || format!("{} stands before {}", named(earlier), named(envelope)))?;
        *here = (index, envelope);
    }
    Ok(())
}

pub(super) async fn partition_per_key(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let (mut given, _) = published(&driver).await?;
    // The second publisher must choose as the first one did.
    let resumed = driver.resumed().await?;
    let batch = driver.complete(keys(20));
    driver.publish(&resumed, &batch).await?;
    given.extend(batch.envelopes);
    let records = driver.records_with(&given).await?;
    let mut partitions: BTreeMap<&[u8], u32> = BTreeMap::new();
    for record in &records {
        let first = *partitions.entry(&record.key).or_insert(record.partition);
        must(first == record.partition, || {
            let key = String::from_utf8_lossy(&record.key);
            format!("key {key:?} is in partition {first} and in partition {}", record.partition)
        })?;
    }
    Ok(())
}
