//! Positions, and starting at them.

use change_feed::source::Start;
use change_feed::{Epoch, Position, Source, SourceError};

use crate::logical::world::{World, changes, end, read, refusal, started, text, version, versions};

#[tokio::test]
async fn every_end_can_be_started_from_also_when_the_slot_is_far_behind() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    let mut ends = Vec::new();
    for number in 1..=4 {
        world
            .run(&format!(
                "begin; insert into order_events (order_id, version) values ('a', {number}), ('b', {number}); commit"
            ))
            .await;
        ends.push(end(&read(&source, 2).await));
    }
    for (given, place) in ends.iter().enumerate().rev() {
        source.start(&Start::after(place, Epoch::FIRST)).await.expect("the slot has it all");
        let left = 2 * (ends.len() - given - 1);
        if left > 0 {
            let runs = read(&source, left).await;
            assert_eq!(versions(&runs)[0], version("a", given as u64 + 2));
        }
    }
    source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.expect("nothing was acknowledged");
    assert_eq!(changes(&read(&source, 8).await).len(), 8);
}

#[tokio::test]
async fn each_part_of_a_split_transaction_can_be_started_from_and_nothing_is_lost_or_doubled() {
    let world = World::new().await;
    let split = || world.builder().max_transaction_rows(3).max_run_rows(2);
    let source = started(split(), &Position::ORIGIN).await;
    world.append("before", 1).await;
    world.run("insert into order_events (order_id, version) select 'a', n from generate_series(1, 10) n").await;
    world.append("after", 1).await;
    let runs = read(&source, 12).await;
    let all = versions(&runs);
    let parts: Vec<_> = changes(&runs).iter().filter_map(|change| change.transaction.as_ref()?.part).collect();
    assert_eq!(parts, [1, 2, 3]);
    let mut given = 0;
    for run in &runs {
        given += run.changes.len();
        let Some(place) = run.end.position() else { continue };
        source.start(&Start::after(place, Epoch::FIRST)).await.expect("a position of ours");
        if given < all.len() {
            let again = read(&source, all.len() - given).await;
            assert_eq!(versions(&again), all[given..], "after {place}");
            assert_eq!(changes(&again), changes(&runs)[given..], "after {place}");
        }
    }
}

#[tokio::test]
async fn a_feed_that_stopped_within_a_split_transaction_goes_on_there_with_the_same_tables_only() {
    let world = World::new().await;
    world.run("create table t (id int primary key)").await;
    let split = || world.builder().max_transaction_rows(3).max_run_rows(2);
    let source = started(split(), &Position::ORIGIN).await;
    world
        .run(
            "begin; insert into t values (1); insert into order_events (order_id, version) select 'a', n from generate_series(1, 10) n;
            insert into t values (2); commit",
        )
        .await;
    let runs = read(&source, 10).await;
    let within =
        runs.iter().filter_map(|run| run.end.position()).find(|place| place.changes().is_some()).expect("a part");
    drop(source);

    let longer = started(split().tables(["t"]), within).await;
    let error = refusal(&longer).await;
    assert!(matches!(error, SourceError::Closed(_)) && text(&error).contains("captures other tables"), "{error:?}");
    drop(longer);
    let left = 10 - within.changes().expect("a part") as usize;
    assert_eq!(versions(&read(&started(split(), within).await, left).await), versions(&runs)[10 - left..]);
    // Behind it the feed may be told of more.
    let longer = started(split().tables(["t"]), &end(&runs)).await;
    world.run("insert into t values (3)").await;
    read(&longer, 1).await;
}

#[tokio::test]
async fn the_slot_follows_what_is_acknowledged_and_never_comes_before_the_table() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    let first = end(&read(&source, 1).await);
    world.append("a", 2).await;
    read(&source, 1).await;
    world.acknowledge(&source, first.clone()).await;
    let lsn = format!("('0/0'::pg_lsn + {})", first.major());
    let slot = format!("(select confirmed_flush_lsn from pg_replication_slots where slot_name = '{}')", world.feed);
    world.until(&format!("select {slot} = {lsn}")).await;
    assert_eq!(world.text("select position from change_feed.feeds").await, Some(first.to_string()));

    drop(source);
    let again = world.builder().connect().await.expect("the server");
    let stored = again.elect().await.expect("nobody else is").checkpoint.expect("it was acknowledged");
    again.start(&Start::after(&stored.position, Epoch::FIRST)).await.expect("the slot is there");
    assert_eq!(versions(&read(&again, 1).await), [version("a", 2)]);
}

#[tokio::test]
async fn a_new_feed_has_a_position_before_its_first_change() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    let run = source.next().await.expect("where it begins");
    assert!(run.changes.is_empty());
    let place = run.end.position().expect("a complete end").clone();
    let created = world
        .text(&format!(
            "select (confirmed_flush_lsn - '0/0')::text from pg_replication_slots where slot_name = '{}'",
            world.feed
        ))
        .await;
    assert_eq!(Some(place.major().to_string()), created);
}

#[tokio::test]
async fn a_walsender_that_is_terminated_costs_a_start_and_no_change() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    let place = end(&read(&source, 1).await);
    world
        .run(&format!(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{}'",
            world.feed
        ))
        .await;
    let error = refusal(&source).await;
    assert!(matches!(error, SourceError::Transient(_)), "{}", text(&error));
    world.append("a", 2).await;
    assert!(!source.elect().await.expect("the election is another session").is_new);
    source.start(&Start::after(&place, Epoch::FIRST)).await.expect("the slot is free, or will be");
    assert_eq!(versions(&read(&source, 1).await), [version("a", 2)]);
}

#[tokio::test]
async fn a_slot_is_made_to_survive_a_fail_over_where_the_server_can() {
    let world = World::new().await;
    let version = world.text("select current_setting('server_version_num')").await.expect("a version");
    match (world.builder().failover(true).connect().await, version.as_str() < "170000") {
        (Ok(_), false) => assert_eq!(world.slot("failover").await.as_deref(), Some("true")),
        (Err(SourceError::Closed(reason)), true) => assert!(reason.remedy().contains("PostgreSQL 17"), "{reason}"),
        (connected, _) => panic!("{version}: {connected:?}"),
    }
}
