//! What comes between the changes of the stream, and how far the stream lags.

use std::collections::BTreeMap;

use super::capture::write;
use super::driver::{Driver, Given, all_given, event_of, named};
use super::harness::SourceHarness;
use crate::conformance::rule::{Fault, broken, must};
use crate::feed::change::Mark;
use crate::feed::identity::Epoch;
use crate::feed::position::Position;

pub(super) async fn every_chunk_can_be_started_from(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    let source = driver.started(&Position::ORIGIN).await?;
    write(&mut driver, 3).await?;
    let mut all = driver.read(&*source, &driver.events()).await?;
    // Each chunk is read before the next one is there, so that a run ends with it.
    for keys in [&[0, 1][..], &[2], &[3, 4, 5]] {
        driver.add_chunk(keys).await?;
        driver.read_on(&*source, &driver.events(), &mut all).await?;
    }
    write(&mut driver, 2).await?;
    let events = driver.events();
    driver.read_on(&*source, &events, &mut all).await?;
    drop(source);
    all_given(&all, &events, "with chunks between the changes")?;
    let marked = all.changes().filter(|change| change.mark == Mark::Snapshot).count();
    must(marked == 6, || format!("{marked} events are marked as a snapshot's, of 6 in chunks"))?;
    for (runs, end) in all.ends() {
        let mut before = Given::default();
        all.runs()[..runs].iter().try_for_each(|run| before.push(run.clone()))?;
        let after: Vec<_> = events.iter().filter(|event| before.times(event) == 0).cloned().collect();
        let source = driver.started(&end).await?;
        let given = driver.read(&*source, &after).await?;
        all_given(&given, &after, &format!("by a start at {end}"))?;
        if let Some(again) = events.iter().find(|event| before.times(event) + given.times(event) > 1) {
            return broken(format!("{} was given again by a start at {end}", named(again)));
        }
    }
    Ok(())
}

pub(super) async fn rejoin_gives_a_baseline(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    let source = driver.source().await?;
    let elected = driver.elect(&*source).await?;
    driver.start(&*source, &Position::ORIGIN).await?;
    write(&mut driver, 12).await?;
    let end = driver.read(&*source, &driver.events()).await?.end();
    driver.acknowledge(&*source, &driver.checkpoint(&elected, Epoch::FIRST, &end)).await?;
    let mut latest = BTreeMap::new();
    latest.extend(driver.events().into_iter().map(|event| (event.key, event.version)));
    drop(source);
    let epoch = driver.rejoin().await?;
    let already = driver.events().len();
    write(&mut driver, 2).await?;
    let changes = driver.events().split_off(already);

    // Each run is read by another process, until the whole baseline is acknowledged.
    let mut baselines = BTreeMap::new();
    loop {
        let source = driver.source().await?;
        let elected = driver.elect(&*source).await?;
        let checkpoint = elected.checkpoint.clone().map(|checkpoint| (checkpoint.identity.epoch, checkpoint.position));
        let Some((_, position)) = checkpoint.filter(|(stored, _)| *stored == epoch) else {
            return broken("what a source stores is not in the epoch of the rejoin that was recorded");
        };
        let is_over = baselines.len() == latest.len();
        if is_over && elected.wanted_epoch.is_none() {
            driver.start(&*source, &position).await?;
            let given = driver.read(&*source, &changes).await?;
            return all_given(&given, &changes, "after the baseline");
        }
        must(!is_over, || "the rejoin is recorded after the end of its baseline was acknowledged".to_owned())?;
        must(elected.wanted_epoch == Some(epoch), || {
            format!("epoch {epoch} is wanted, and an election found {:?}", elected.wanted_epoch)
        })?;
        driver.start_with_baseline(&*source, &position, epoch).await?;
        let Ok(run) = driver.in_time("next", source.next()).await? else {
            return broken("a start with a baseline was followed by an error");
        };
        for change in &run.changes {
            let event = event_of(change);
            must(change.mark == Mark::Baseline, || {
                format!("version {} of key {} came before the end of the baseline", event.version, event.key)
            })?;
            must(baselines.insert(event.key.to_string(), event.version).is_none(), || {
                format!("key {} has two baselines", event.key)
            })?;
            must(latest.get(&*event.key) == Some(&event.version), || {
                format!("the baseline of key {} has version {}", event.key, event.version)
            })?;
        }
        let Some(end) = run.end.position() else {
            return broken("a run of the baseline is not complete");
        };
        driver.acknowledge(&*source, &driver.checkpoint(&elected, epoch, end)).await?;
    }
}

pub(super) async fn lag_grows_with_commits(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    let source = driver.source().await?;
    let elected = driver.elect(&*source).await?;
    driver.start(&*source, &Position::ORIGIN).await?;
    write(&mut driver, 3).await?;
    let end = driver.read(&*source, &driver.events()).await?.end();
    driver.acknowledge(&*source, &driver.checkpoint(&elected, Epoch::FIRST, &end)).await?;
    let before = driver.lag(&*source).await?;
    must(before.changes.is_none_or(|changes| changes == 0), || {
        format!("everything is acknowledged, and {:?} changes lag behind", before.changes)
    })?;
    write(&mut driver, 20).await?;
    let after = driver.lag(&*source).await?;
    let grew = after.changes > before.changes || after.bytes > before.bytes;
    must(grew, || format!("the lag was {before:?}, and is {after:?} after 20 commits"))
}
