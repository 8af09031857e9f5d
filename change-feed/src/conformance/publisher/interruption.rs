//! Calls that are dropped, and calls whose answer is lost.

use std::time::{Duration, Instant};

use super::delivery::{in_order, none_twice};
use super::driver::{Batch, Driver, Resumed, named, times, unexpected};
use super::harness::PublisherHarness;
use crate::conformance::rule::{DROPS, Fault, broken};
use crate::feed::envelope::Envelope;
use crate::publisher::KeptPosition;
use crate::publisher::PublishError;

/// How long a destination may take to come back.
const REVIVAL_LIMIT: Duration = Duration::from_secs(60);
/// The pause between two attempts to come back.
const REVIVAL_INTERVAL: Duration = Duration::from_millis(50);
/// How often the destination goes away.
const OUTAGES: usize = 4;

pub(super) async fn dropped_publish_loses_nothing(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let mut resumed = driver.resumed().await?;
    let mut given = Vec::new();
    for dropped in DROPS {
        // A transaction in two pieces: both are to come again if the end was not reached.
        let pieces = [driver.continued(["a", "b", "c"]), driver.complete(["a", "b", "a", "d"])];
        let first = dropped.run(driver.publishing(&resumed, &pieces[0])).await;
        let ended = match first {
            Some(Ok(())) => dropped.run(driver.publishing(&resumed, &pieces[1])).await,
            other => other,
        };
        match ended {
            Some(Ok(())) => driver.acknowledge(&resumed, &pieces[1]),
            // What an error means to the relay, a dropped future means too.
            Some(Err(_)) | None => resumed = again(&driver, resumed, &pieces).await?,
        }
        given.extend(pieces.into_iter().flat_map(|batch| batch.envelopes));
    }
    whole(harness, &driver, &given).await
}

pub(super) async fn lost_answer_is_no_duplicate(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let mut resumed = driver.resumed().await?;
    let mut given = Vec::new();
    for _ in 0..OUTAGES {
        let before = driver.complete(["a", "b"]);
        driver.publish(&resumed, &before).await?;
        let during = [driver.complete(["a", "b", "a", "c"])];
        driver.destination().make_unavailable().await?;
        let answer = driver.try_publish(&resumed, &during[0]).await;
        driver.destination().make_available().await?;
        match answer? {
            Ok(()) => {}
            Err(PublishError::Transient(_)) => resumed = again(&driver, resumed, &during).await?,
            Err(error) => return broken(format!("while the destination was away, publish was answered {error:?}")),
        }
        given.extend(before.envelopes);
        given.extend(during.into_iter().flat_map(|batch| batch.envelopes));
    }
    whole(harness, &driver, &given).await
}

/// What a relay does after an error: resume, and give again what the publisher doesn't have.
async fn again(driver: &Driver, resumed: Resumed, batches: &[Batch]) -> Result<Resumed, Fault> {
    let deadline = Instant::now() + REVIVAL_LIMIT;
    let Resumed { mut publisher, .. } = resumed;
    loop {
        let last = batches.last().and_then(|batch| batch.end.position());
        match driver.try_resume_own(&*publisher).await? {
            Ok((identity, position)) => {
                let resumed = Resumed { publisher, identity, position };
                if let KeptPosition::At(kept) = &resumed.position
                    && Some(&kept.position) >= last
                {
                    return Ok(resumed);
                }
                match publish_all(driver, &resumed, batches).await? {
                    Ok(()) => return Ok(resumed),
                    Err(PublishError::Transient(_)) => publisher = resumed.publisher,
                    Err(error) => return Err(unexpected("publish after resume", error)),
                }
            }
            Err(PublishError::Transient(_)) => {}
            Err(error) => return Err(unexpected("resume", error)),
        }
        if Instant::now() >= deadline {
            return broken(format!("no revival within {} s", REVIVAL_LIMIT.as_secs()));
        }
        tokio::time::sleep(REVIVAL_INTERVAL).await;
    }
}

async fn publish_all(driver: &Driver, to: &Resumed, batches: &[Batch]) -> Result<Result<(), PublishError>, Fault> {
    for batch in batches {
        if let Err(error) = driver.try_publish(to, batch).await? {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// Everything is there, in order, and once where the position is kept.
async fn whole(harness: &dyn PublisherHarness, driver: &Driver, given: &[Envelope]) -> Result<(), Fault> {
    let records = driver.records_with(given).await?;
    if let Some(lost) = given.iter().find(|envelope| times(&records, envelope) == 0) {
        return broken(format!("{} is lost", named(lost)));
    }
    in_order(given, &records)?;
    if harness.capabilities().keeps_position { none_twice(given, &records) } else { Ok(()) }
}
