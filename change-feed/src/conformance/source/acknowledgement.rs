//! What a source stores for a feed.

use super::capture::write;
use super::driver::{Driver, Given};
use super::harness::SourceHarness;
use crate::conformance::rule::{Fault, must};
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::Epoch;
use crate::feed::position::Position;
use crate::source::Elected;
use crate::source::Source;

/// A driver, an elected source and three ends of it.
async fn three_ends(harness: &dyn SourceHarness) -> Result<(Driver, Box<dyn Source>, Elected, [Position; 3]), Fault> {
    let mut driver = Driver::open(harness).await?;
    let source = driver.source().await?;
    let elected = driver.elect(&*source).await?;
    must(elected.checkpoint.is_none(), || "a new feed has a checkpoint".to_owned())?;
    driver.start(&*source, &Position::ORIGIN).await?;
    let mut given = Given::default();
    let mut ends = [Position::ORIGIN, Position::ORIGIN, Position::ORIGIN];
    for end in &mut ends {
        write(&mut driver, 2).await?;
        driver.read_on(&*source, &driver.events(), &mut given).await?;
        *end = given.end();
    }
    Ok((driver, source, elected, ends))
}

/// What another process finds.
async fn stored(driver: &Driver, source: Box<dyn Source>) -> Result<(Box<dyn Source>, Option<Checkpoint>), Fault> {
    drop(source);
    let source = driver.source().await?;
    let checkpoint = driver.elect(&*source).await?.checkpoint;
    Ok((source, checkpoint))
}

fn shown(checkpoint: Option<&Checkpoint>) -> String {
    checkpoint.map_or("nothing".to_owned(), |checkpoint| {
        format!("epoch {} at {}", checkpoint.identity.epoch, checkpoint.position)
    })
}

fn found(stored: Option<&Checkpoint>, expected: &Checkpoint, after: &str) -> Result<(), Fault> {
    must(stored == Some(expected), || {
        format!("after {after} another process found {}, not {}", shown(stored), shown(Some(expected)))
    })
}

pub(super) async fn acknowledged_is_kept(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let (driver, source, elected, ends) = three_ends(harness).await?;
    let mut source = source;
    for end in &ends {
        let checkpoint = driver.checkpoint(&elected, Epoch::FIRST, end);
        driver.acknowledge(&*source, &checkpoint).await?;
        driver.acknowledge(&*source, &checkpoint).await?;
        let at_once = driver.elect(&*source).await?.checkpoint;
        must(at_once.as_ref() == Some(&checkpoint), || {
            format!("an election that was held found {} after {end} was acknowledged", shown(at_once.as_ref()))
        })?;
        let (again, kept) = stored(&driver, source).await?;
        found(kept.as_ref(), &checkpoint, "an acknowledgement")?;
        source = again;
    }
    Ok(())
}

pub(super) async fn acknowledge_never_goes_back(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let (driver, source, elected, [first, second, third]) = three_ends(harness).await?;
    let at = |epoch: u32, position| driver.checkpoint(&elected, Epoch::new(epoch), position);
    driver.acknowledge(&*source, &at(1, &second)).await?;
    driver.acknowledge(&*source, &at(1, &first)).await?;
    let (source, kept) = stored(&driver, source).await?;
    found(kept.as_ref(), &at(1, &second), "an older acknowledgement")?;

    driver.acknowledge(&*source, &at(2, &first)).await?;
    let (source, kept) = stored(&driver, source).await?;
    found(kept.as_ref(), &at(2, &first), "an acknowledgement of a later epoch")?;

    driver.acknowledge(&*source, &at(1, &third)).await?;
    let (_, kept) = stored(&driver, source).await?;
    found(kept.as_ref(), &at(2, &first), "an acknowledgement of an earlier epoch")
}

pub(super) async fn equal_acknowledge_stores_identity(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let (driver, source, elected, [end, ..]) = three_ends(harness).await?;
    let first = driver.checkpoint(&elected, Epoch::FIRST, &end);
    let mut second = first.clone();
    second.identity.publisher.cluster = "elsewhere".to_owned();
    driver.acknowledge(&*source, &first).await?;
    driver.acknowledge(&*source, &second).await?;
    let (_, kept) = stored(&driver, source).await?;
    let cluster = kept.as_ref().map(|kept| kept.identity.publisher.cluster.as_str());
    must(cluster == Some("elsewhere"), || {
        format!("after an acknowledgement at the same position the stored cluster is {cluster:?}, not \"elsewhere\"")
    })
}

pub(super) async fn feeds_are_separate(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let (driver, source, elected, [end, ..]) = three_ends(harness).await?;
    let checkpoint = driver.checkpoint(&elected, Epoch::FIRST, &end);
    driver.acknowledge(&*source, &checkpoint).await?;
    let theirs = driver.source_of(&super::driver::new_feed()).await?;
    // The first one holds its election all the while.
    let found_there = driver.elect(&*theirs).await?.checkpoint;
    must(found_there.is_none(), || format!("another feed found {}", shown(found_there.as_ref())))?;
    drop(theirs);
    let (_, kept) = stored(&driver, source).await?;
    found(kept.as_ref(), &checkpoint, "the election of another feed")
}
