//! One active source of a feed, and its standby.

use std::time::Duration;

use super::capture::write;
use super::driver::{Driver, all_given, unexpected};
use super::harness::SourceHarness;
use crate::conformance::rule::{Fault, broken, must};
use crate::feed::position::Position;

/// How long a second source is watched waiting.
const WATCH: Duration = Duration::from_millis(300);

pub(super) async fn one_is_elected(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let first = driver.source().await?;
    driver.elect(&*first).await?;
    driver.elect(&*first).await?;
    let second = driver.source().await?;
    match tokio::time::timeout(WATCH, second.elect()).await {
        Err(_) => {}
        Ok(Ok(_)) => return broken("a second source was elected while the first one held the election"),
        Ok(Err(error)) => return Err(unexpected("a second source's elect", error)),
    }
    // The dropped call of the second one must not have taken it from the first.
    driver.elect(&*first).await.map(drop)
}

pub(super) async fn standby_takes_over(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    let holder = driver.source().await?;
    driver.elect(&*holder).await?;
    let second = driver.source().await?;
    let both = tokio::join!(driver.elect(&*second), async {
        tokio::time::sleep(WATCH).await;
        drop(holder);
    });
    both.0.map_err(|fault| in_words(fault, "after the holder had ended"))?;
    let third = driver.source().await?;
    let both = tokio::join!(driver.elect(&*third), async {
        tokio::time::sleep(WATCH).await;
        second.release().await;
    });
    both.0.map_err(|fault| in_words(fault, "after the holder had given it up"))?;
    // Who took over captures.
    write(&mut driver, 3).await?;
    driver.start(&*third, &Position::ORIGIN).await?;
    let given = driver.read(&*third, &driver.events()).await?;
    all_given(&given, &driver.events(), "by the source that took over")
}

fn in_words(fault: Fault, when: &str) -> Fault {
    match fault {
        Fault::Broken(what) => Fault::Broken(format!("{when}: {what}")),
        other => other,
    }
}

pub(super) async fn identity_is_stable(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let mut driver = Driver::open(harness).await?;
    let first = driver.source().await?;
    let identity = driver.elect(&*first).await?.identity;
    drop(first);
    write(&mut driver, 2).await?;
    let second = driver.source().await?;
    let again = driver.elect(&*second).await?.identity;
    must(identity == again, || format!("the identity was {identity:?} and is {again:?} in another process"))?;

    let elsewhere = Driver::open(harness).await?;
    let other = elsewhere.source().await?;
    let other = elsewhere.elect(&*other).await?.identity;
    must(other.kind == identity.kind, || format!("two kinds: {} and {}", identity.kind, other.kind))?;
    must((&other.system, &other.captures) != (&identity.system, &identity.captures), || {
        format!("two databases have the identity {identity:?}")
    })
}
