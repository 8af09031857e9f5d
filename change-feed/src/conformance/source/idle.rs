//! A source whose database rests.

use std::time::{Duration, Instant};

use super::capture::write;
use super::driver::{Driver, Given, all_given, unexpected};
use super::harness::SourceHarness;
use crate::conformance::rule::{Fault, broken, must};
use crate::feed::identity::Epoch;
use crate::feed::position::Position;

/// How often something is acknowledged while the database rests.
const ACKNOWLEDGEMENTS: usize = 8;

pub(super) async fn idle_is_quiet(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    let source = driver.source().await?;
    let elected = driver.elect(&*source).await?;
    driver.start(&*source, &Position::ORIGIN).await?;
    write(&mut driver, 3).await?;
    let mut given = driver.read(&*source, &driver.events()).await?;
    let (began, busy) = (Instant::now(), given.runs().len());
    for _ in 0..ACKNOWLEDGEMENTS {
        let checkpoint = driver.checkpoint(&elected, Epoch::FIRST, &given.end());
        driver.acknowledge(&*source, &checkpoint).await?;
        // A run for each acknowledgement would otherwise come for ever.
        let look = tokio::time::timeout(Duration::from_millis(100), source.next()).await;
        if let Ok(run) = look {
            given.push(run.map_err(|error| unexpected("next", error))?)?;
        }
    }
    let (idle, seconds) = (given.runs().len() - busy, began.elapsed().as_secs() as usize);
    // One for the second that began, and one for the one that ended.
    must(idle <= seconds + 2, || format!("{idle} runs came within {} s in which nothing was committed", seconds + 1))?;
    only_moves(&given)
}

/// A run without changes is complete, and further on than the one before.
fn only_moves(given: &Given) -> Result<(), Fault> {
    let mut end = Position::ORIGIN;
    for run in given.runs() {
        let moved = run.end.position().is_some_and(|position| *position > end);
        must(!run.changes.is_empty() || moved, || format!("a run without changes left the position at {end}"))?;
        end = run.end.position().cloned().unwrap_or(end);
    }
    Ok(())
}

pub(super) async fn next_waits_for_commits(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    let source = driver.started(&Position::ORIGIN).await?;
    let mut given = driver.read_idly(&*source).await?;
    for _ in 0..3 {
        let limit = harness.capabilities().call_limit;
        let (next, committed) = tokio::join!(tokio::time::timeout(limit, source.next()), async {
            // By now the other future waits.
            tokio::time::sleep(Duration::from_millis(30)).await;
            driver.commit(&[0, 1]).await
        });
        committed?;
        match next {
            Ok(run) => given.push(run.map_err(|error| unexpected("next", error))?)?,
            Err(_) => return broken("a next that waited did not give what was committed meanwhile"),
        }
        driver.read_on(&*source, &driver.events(), &mut given).await?;
    }
    all_given(&given, &driver.events(), "though it was committed while next waited")
}
