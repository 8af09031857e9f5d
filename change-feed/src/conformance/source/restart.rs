//! Positions, and starting at them.

use super::capture::write;
use super::driver::{Driver, Given, all_given, named};
use super::harness::{NewEvent, SourceHarness};
use crate::conformance::rule::{Fault, broken, must};
use crate::feed::position::Position;
use crate::source::SourceError;

/// At most so many of the ends are started from.
const STARTS: usize = 8;

/// What was given up to an end, and what a start there gave.
struct Restart {
    end: Position,
    before: Vec<NewEvent>,
    after: Vec<NewEvent>,
    given: Given,
}

/// Reads everything while it is written, and starts a new source at some of the ends.
async fn restarts(harness: &dyn SourceHarness) -> Result<Vec<Restart>, Fault> {
    let mut driver = Driver::open(harness).await?;
    let source = driver.started(&Position::ORIGIN).await?;
    let mut first = Given::default();
    for _ in 0..6 {
        write(&mut driver, 3).await?;
        driver.read_on(&*source, &driver.events(), &mut first).await?;
    }
    drop(source);
    let ends = first.ends();
    let mut restarts = Vec::new();
    for (runs, end) in every_nth(ends, STARTS) {
        let given_before: Vec<_> = first.runs()[..runs].iter().flat_map(|run| &run.changes).cloned().collect();
        let was_before = |event: &NewEvent| {
            given_before.iter().any(|change| super::driver::event_of(change).event_id == event.event_id)
        };
        let (before, after): (Vec<_>, Vec<_>) = driver.events().into_iter().partition(was_before);
        let read_back: Position = match end.to_string().parse() {
            Ok(position) => position,
            Err(_) => end.clone(),
        };
        let source = driver.started(&read_back).await?;
        let given = driver.read(&*source, &after).await?;
        restarts.push(Restart { end, before, after, given });
    }
    Ok(restarts)
}

fn every_nth<T>(all: Vec<T>, at_most: usize) -> Vec<T> {
    let step = all.len().div_ceil(at_most).max(1);
    all.into_iter().step_by(step).collect()
}

pub(super) async fn start_repeats_nothing(harness: &dyn SourceHarness) -> Result<(), Fault> {
    for Restart { end, before, given, .. } in restarts(harness).await? {
        if let Some(again) = before.iter().find(|event| given.times(event) > 0) {
            return broken(format!("{} was given again by a start at {end}, which is after it", named(again)));
        }
    }
    Ok(())
}

pub(super) async fn every_end_can_be_started_from(harness: &dyn SourceHarness) -> Result<(), Fault> {
    for Restart { end, after, given, .. } in restarts(harness).await? {
        all_given(&given, &after, &format!("by a start at {end}, which is before it"))?;
    }
    Ok(())
}

pub(super) async fn start_again_rewinds(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    write(&mut driver, 5).await?;
    let source = driver.started(&Position::ORIGIN).await?;
    let first = driver.read(&*source, &driver.events()).await?;
    let middle = first.end();
    let already = driver.events().len();
    write(&mut driver, 5).await?;
    let events = driver.events();
    driver.read(&*source, &events[already..]).await?;

    driver.start(&*source, &middle).await?;
    let again = driver.read(&*source, &events[already..]).await?;
    all_given(&again, &events[already..], "by a second start before it")?;
    driver.start(&*source, &Position::ORIGIN).await?;
    let again = driver.read(&*source, &events).await?;
    all_given(&again, &events, "by a second start at the origin")
}

pub(super) async fn positions_grow(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    let source = driver.started(&Position::ORIGIN).await?;
    let mut given = Given::default();
    for _ in 0..6 {
        write(&mut driver, 3).await?;
        driver.read_on(&*source, &driver.events(), &mut given).await?;
    }
    let mut previous = Position::ORIGIN;
    let mut pending = Vec::new();
    for run in given.runs() {
        pending.extend(run.changes.iter().map(|change| change.position.clone()));
        let Some(end) = run.end.position() else { continue };
        must(previous < *end, || format!("the end {end} does not follow the end {previous}"))?;
        must(previous.to_string() < end.to_string(), || format!("{previous} and {end} don't sort as texts"))?;
        must(end.to_string().parse().as_ref() == Ok(end), || format!("{end} does not read back from its text"))?;
        for position in pending.drain(..) {
            must(previous < position && position <= *end, || {
                format!("a change is at {position}, between the ends {previous} and {end}")
            })?;
        }
        previous = end.clone();
    }
    Ok(())
}

pub(super) async fn position_past_the_end_is_refused(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut longer = Driver::open(harness).await?;
    write(&mut longer, 10).await?;
    let source = longer.started(&Position::ORIGIN).await?;
    let end = longer.read(&*source, &longer.events()).await?.end();

    let mut shorter = Driver::open(harness).await?;
    write(&mut shorter, 1).await?;
    let source = shorter.source().await?;
    shorter.elect(&*source).await?;
    match shorter.try_start(&*source, &end).await? {
        Err(SourceError::Closed(_)) => Ok(()),
        Err(error) => broken(format!("a start past the end was answered {error:?} instead of Closed")),
        Ok(()) => broken(format!("a start at {end} succeeded, which is past the end")),
    }
}
