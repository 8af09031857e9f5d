//! The position that a publisher keeps, or doesn't.

use super::driver::{Driver, Resumed};
use super::harness::PublisherHarness;
use crate::conformance::rule::{Fault, broken, must};
use crate::feed::checkpoint::Checkpoint;
use crate::feed::position::Position;
use crate::publisher::KeptPosition;

pub(super) async fn resume_answers_last_position(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let keeps = harness.capabilities().keeps_position;
    let driver = Driver::open(harness).await?;
    let resumed = driver.resumed().await?;
    let is_new = match resumed.position {
        KeptPosition::NotYet => keeps,
        KeptPosition::Never | KeptPosition::Ephemeral => !keeps,
        KeptPosition::At(_) => false,
    };
    must(is_new, || format!("a new feed was answered {:?}", resumed.position))?;

    driver.publish(&resumed, &driver.complete(["a", "b"])).await?;
    driver.publish(&resumed, &driver.complete(["a"])).await?;
    let expected = driver.acknowledged();
    let again = driver.resume(resumed.publisher).await?;
    answered(&again, keeps, expected.as_ref(), "the same publisher")?;
    drop(again);
    let another = driver.resumed().await?;
    answered(&another, keeps, expected.as_ref(), "another publisher")?;

    driver.publish(&another, &driver.continued(["b", "c"])).await?;
    drop(another);
    let third = driver.resumed().await?;
    answered(&third, keeps, expected.as_ref(), "after a part that continues, another publisher")
}

fn answered(resumed: &Resumed, keeps: bool, expected: Option<&Checkpoint>, who: &str) -> Result<(), Fault> {
    match (&resumed.position, expected) {
        (KeptPosition::Never | KeptPosition::Ephemeral, _) if !keeps => Ok(()),
        (KeptPosition::At(kept), Some(expected)) if keeps && **kept == *expected => Ok(()),
        (KeptPosition::At(kept), Some(expected)) if keeps && kept.position == expected.position => {
            broken(format!("{who} was answered the position with another identity: {:?}", kept.identity))
        }
        (found, expected) => {
            let expected = expected.filter(|_| keeps).map(|checkpoint| &checkpoint.position);
            broken(format!("{who} was answered {}, should be {}", shown(found), place(expected)))
        }
    }
}

pub(super) async fn empty_part_is_taken(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let keeps = harness.capabilities().keeps_position;
    let driver = Driver::open(harness).await?;
    let resumed = driver.resumed().await?;
    let first = driver.complete(["a"]);
    driver.publish(&resumed, &first).await?;
    driver.publish(&resumed, &driver.empty()).await?;
    let records = driver.records_with(&first.envelopes).await?;
    must(records.len() <= 1, || format!("a part without envelopes became {} records", records.len() - 1))?;
    if !keeps {
        return Ok(());
    }
    drop(resumed);
    let expected = driver.acknowledged().map(|checkpoint| checkpoint.position);
    let again = driver.resumed().await?;
    let moved = matches!(&again.position, KeptPosition::At(kept) if Some(&kept.position) == expected.as_ref());
    must(moved, || {
        let found = shown(&again.position);
        format!("after a complete part without envelopes the position is {found}, not {}", place(expected.as_ref()))
    })
}

fn shown(position: &KeptPosition) -> String {
    match position {
        KeptPosition::At(checkpoint) => format!("At({})", checkpoint.position),
        other => format!("{other:?}"),
    }
}

fn place(expected: Option<&Position>) -> String {
    expected.map_or("none".to_owned(), |position| format!("At({position})"))
}
