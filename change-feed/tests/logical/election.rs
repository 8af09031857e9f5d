//! One active source, and its standby.

use change_feed::source::Start;
use std::time::Duration;

use change_feed::{Epoch, Position, Source, SourceError};
use test_support::Frozen;

use crate::logical::world::{PATIENCE, World, end, read, refusal, text, version, versions};

#[tokio::test]
async fn a_standby_takes_over_when_the_active_one_is_gone_without_a_word() {
    let world = World::new().await;
    let active = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    let place = end(&read(&active, 1).await);
    let standby = world.builder().connect().await.expect("the server");
    let waits = tokio::time::timeout(Duration::from_millis(600), standby.elect()).await;
    assert!(waits.is_err(), "one is elected already");
    let (elected, ()) = tokio::join!(tokio::time::timeout(PATIENCE, standby.elect()), async { drop(active) });
    assert!(elected.expect("in time").expect("it is free").is_new);
    standby.start(&Start::after(&place, Epoch::FIRST)).await.expect("the slot is free, or will be");
    world.append("a", 2).await;
    assert_eq!(versions(&read(&standby, 1).await), [version("a", 2)]);
}

#[tokio::test]
async fn a_source_that_lost_its_election_gives_and_acknowledges_nothing() {
    let world = World::new().await;
    let old = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    let place = end(&read(&old, 1).await);
    let checkpoint = world.checkpoint(&old, place.clone()).await;
    // What the server does with a session that has been silent for too long.
    world.run("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())").await;
    let new = world.started(&Position::ORIGIN).await;
    assert_eq!(versions(&read(&new, 1).await), [version("a", 1)]);
    let error = old.acknowledge(&checkpoint).await.expect_err("another one is elected");
    assert!(matches!(error, SourceError::Transient(_)), "{}", text(&error));
    let error = refusal(&old).await;
    assert!(matches!(error, SourceError::Transient(_)), "{}", text(&error));
    world.acknowledge(&new, place).await;
}

#[tokio::test]
async fn a_slot_that_an_earlier_relay_of_the_feed_still_reads_is_taken_from_it() {
    let world = World::new().await;
    let frozen = world.started(&Position::ORIGIN).await;
    world.run("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())").await;
    // Nobody calls the first one any more, and its walsender would go on for ten seconds.
    let before = world.slot("active_pid").await.expect("the first one reads");
    let new = world.started(&Position::ORIGIN).await;
    assert_ne!(world.slot("active_pid").await.expect("the second one reads"), before);
    world.append("a", 1).await;
    assert_eq!(versions(&read(&new, 1).await), [version("a", 1)]);
    drop(frozen);
}

#[tokio::test]
async fn a_source_that_is_released_can_be_elected_again_and_goes_on() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    let place = end(&read(&source, 1).await);
    source.release().await;
    assert_eq!(world.slot("active").await.as_deref(), Some("false"));
    assert!(source.elect().await.expect("it is free").is_new);
    source.start(&Start::after(&place, Epoch::FIRST)).await.expect("a position of ours");
    world.append("a", 2).await;
    assert_eq!(versions(&read(&source, 1).await), [version("a", 2)]);
}

#[tokio::test]
async fn two_feeds_that_begin_at_once_do_not_disturb_each_other() {
    let world = World::new().await;
    let other = change_feed::FeedName::new(format!("{}_2", &world.feed.as_str()[..40])).expect("a name");
    let second =
        change_feed::LogicalSource::builder(&world.url(), &other).outbox(crate::logical::world::outbox()).create(true);
    let (first, second) =
        tokio::join!(world.started(&Position::ORIGIN), crate::logical::world::started(second, &Position::ORIGIN));
    world.append("a", 1).await;
    assert_eq!(versions(&read(&first, 1).await), versions(&read(&second, 1).await));
}

#[tokio::test]
async fn a_call_that_is_dropped_while_it_confirms_the_election_loses_nothing() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    let holder = "select pid::text from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())";
    let frozen = Frozen::freeze(&world.text(holder).await.expect("it is elected"));
    world.append("a", 1).await;
    // Longer than an election is believed without a word of its session, and not until the session is given up.
    tokio::time::sleep(Duration::from_secs(7)).await;
    for _ in 0..3 {
        let dropped = tokio::time::timeout(Duration::from_millis(100), read(&source, 1)).await;
        assert!(dropped.is_err(), "it is given without a proof");
    }
    drop(frozen);
    assert_eq!(versions(&read(&source, 1).await), [version("a", 1)]);
}
