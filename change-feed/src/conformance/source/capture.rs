//! Loss, duplicates, phantoms and order.

use std::collections::{HashMap, HashSet};

use super::driver::{Driver, Given, all_given, event_of, named};
use super::harness::{NewEvent, SourceHarness};
use crate::conformance::rule::{DROPS, Fault, broken, must};
use crate::feed::event::{EventId, EventRecord};
use crate::feed::position::Position;
use crate::source::Source;

/// Transactions of one to four events on few keys.
pub(super) async fn write(driver: &mut Driver, transactions: usize) -> Result<(), Fault> {
    for n in 0..transactions {
        let keys: Vec<usize> = (0..=n % 4).map(|index| (n * n + 3 * index) % 7).collect();
        driver.commit(&keys).await?;
    }
    Ok(())
}

/// Everything that a source gives from the origin.
async fn from_origin(harness: &dyn SourceHarness) -> Result<(Driver, Given), Fault> {
    let mut driver = Driver::open(harness).await?;
    write(&mut driver, 30).await?;
    let source = driver.started(&Position::ORIGIN).await?;
    let given = driver.read(&*source, &driver.events()).await?;
    Ok((driver, given))
}

pub(super) async fn origin_gives_everything(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let (driver, given) = from_origin(harness).await?;
    all_given(&given, &driver.events(), "from the origin")
}

pub(super) async fn nothing_twice(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let (driver, given) = from_origin(harness).await?;
    none_twice(&given, &driver.events())
}

fn none_twice(given: &Given, events: &[NewEvent]) -> Result<(), Fault> {
    match events.iter().find(|event| given.times(event) > 1) {
        Some(twice) => broken(format!("{} was given {} times", named(twice), given.times(twice))),
        None => Ok(()),
    }
}

pub(super) async fn content_unchanged(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let (driver, given) = from_origin(harness).await?;
    let committed: HashMap<EventId, NewEvent> =
        driver.events().into_iter().map(|event| (event.event_id, event)).collect();
    for record in given.changes().map(event_of) {
        if let Some(event) = committed.get(&record.event_id) {
            same(event, record)?;
        }
    }
    Ok(())
}

fn same(event: &NewEvent, record: &EventRecord) -> Result<(), Fault> {
    let differs = |what: &str| broken(format!("{} was given with another {what}", named(event)));
    if *record.key != *event.key {
        return differs("key");
    }
    if record.version != event.version {
        return differs("version");
    }
    if *record.event_type != *event.event_type {
        return differs("type");
    }
    if record.occurred_at.timestamp_millis() != event.occurred_at.timestamp_millis() {
        return differs("time");
    }
    if record.traceparent.as_deref() != event.traceparent.as_deref() {
        return differs("trace context");
    }
    // A database that knows JSON may write it down in another way.
    let value = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).ok();
    if *record.payload != *event.payload.as_bytes() && value(&record.payload) != value(event.payload.as_bytes()) {
        return differs("payload");
    }
    Ok(())
}

pub(super) async fn order_per_key(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    write(&mut driver, 20).await?;
    if harness.capabilities().concurrent_writers {
        // The transaction that begins first changes the key last.
        for _ in 0..5 {
            let mut early = driver.begin().await?;
            driver.append(&mut early, &[1]).await?;
            driver.commit(&[0, 2]).await?;
            driver.append(&mut early, &[0]).await?;
            driver.end(early).await?;
        }
    }
    let source = driver.started(&Position::ORIGIN).await?;
    let given = driver.read(&*source, &driver.events()).await?;
    in_order(&given)
}

/// The first time that each version of a key is given, it is higher than all before.
fn in_order(given: &Given) -> Result<(), Fault> {
    let mut highest: HashMap<&str, u64> = HashMap::new();
    let mut seen = HashSet::new();
    for event in given.changes().map(event_of) {
        if !seen.insert(event.event_id) {
            continue;
        }
        let before = highest.entry(&event.key).or_default();
        must(*before < event.version, || format!("key {}: version {} came after {before}", event.key, event.version))?;
        *before = event.version;
    }
    Ok(())
}

pub(super) async fn no_loss_with_concurrent_writers(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    let source = driver.started(&Position::ORIGIN).await?;
    let mut given = Given::default();
    let mut source: Box<dyn Source> = source;
    for round in 0..4 {
        let mut late = driver.begin().await?;
        driver.append(&mut late, &[0, 1]).await?;
        let mut later = driver.begin().await?;
        driver.append(&mut later, &[2]).await?;
        driver.commit(&[3, 4]).await?;
        driver.read_on(&*source, &driver.events(), &mut given).await?;
        if round % 2 == 1 {
            // The position alone must be enough to find what is still open now.
            drop(source);
            source = driver.started(&given.end()).await?;
        }
        driver.append(&mut late, &[5]).await?;
        driver.end(late).await?;
        driver.commit(&[6]).await?;
        driver.read_on(&*source, &driver.events(), &mut given).await?;
        driver.end(later).await?;
    }
    driver.read_on(&*source, &driver.events(), &mut given).await?;
    all_given(&given, &driver.events(), "though it was committed: others wrote and committed meanwhile")
}

pub(super) async fn no_phantom(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    let source = driver.started(&Position::ORIGIN).await?;
    let mut given = Given::default();
    for _ in 0..3 {
        driver.commit(&[0, 1]).await?;
        driver.read_on(&*source, &driver.events(), &mut given).await?;
        let mut open = driver.begin().await?;
        driver.append(&mut open, &[0, 2]).await?;
        let meanwhile = driver.read_idly(&*source).await?;
        meanwhile.runs().iter().try_for_each(|run| given.push(run.clone()))?;
        let never = driver.roll_back(open).await?;
        driver.commit(&[2, 3]).await?;
        driver.read_on(&*source, &driver.events(), &mut given).await?;
        if let Some(phantom) = never.iter().find(|event| given.times(event) > 0) {
            return broken(format!("{} was given; its transaction rolled back", named(phantom)));
        }
    }
    Ok(())
}

pub(super) async fn dropped_next_loses_nothing(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    let source = driver.started(&Position::ORIGIN).await?;
    let mut given = Given::default();
    for dropped in DROPS {
        for keys in [&[0, 1, 0][..], &[2]] {
            driver.commit(keys).await?;
            if let Some(run) = dropped.run(source.next()).await {
                given.push(run.map_err(|error| super::driver::unexpected("next", error))?)?;
            }
        }
    }
    driver.read_on(&*source, &driver.events(), &mut given).await?;
    all_given(&given, &driver.events(), "after calls of next had been dropped")?;
    none_twice(&given, &driver.events())?;
    in_order(&given)
}
