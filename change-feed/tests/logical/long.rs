//! A source on the log of a PostgreSQL of its own: what only an administrator does to a server, and a very large transaction.

use std::io::Write as _;
use std::time::Duration;

use super::world::{PATIENCE, World, changes, end, event, outbox, read, refusal, started, text, version, versions};
use change_feed::source::Start;
use change_feed::{Epoch, Mismatch, Position, Source, SourceError};
use test_support::{Instance, Standby};

const ADMIN: &str = "ADMIN_DATABASE_URL";

/// Says what was measured, for the log of the run.
fn report(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("a place to write to");
}

fn closed(error: &SourceError, says: &str) {
    assert!(matches!(error, SourceError::Closed(_)) && text(error).contains(says), "{}", text(error));
}

/// Waits for the first answer that does not say to try again.
async fn answer<T>(mut asked: impl AsyncFnMut() -> Result<T, SourceError>) -> Result<T, SourceError> {
    let answered = async {
        loop {
            match asked().await {
                Err(SourceError::Transient(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
                answer => return answer,
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("an answer")
}

#[tokio::test]
async fn a_slot_whose_log_the_server_has_removed_is_refused_and_noticed_while_the_feed_runs() {
    let instance = Instance::start("logical-lost").await;
    let world = World::on(instance.url(ADMIN)).await;
    let source = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    let place = end(&read(&source, 1).await);
    world.run("alter system set max_slot_wal_keep_size = '1MB'").await;
    world.run("select pg_reload_conf()").await;
    let lost = format!("select wal_status = 'lost' from pg_replication_slots where slot_name = '{}'", world.feed);
    let losing = async {
        while world.text(&format!("select ({lost})::text")).await.as_deref() != Some("true") {
            world.run("select pg_logical_emit_message(false, 'x', repeat('x', 1000000)); select pg_switch_wal(); checkpoint").await;
        }
    };
    tokio::time::timeout(PATIENCE, losing).await.expect("the server removes its log");
    refusal(&source).await;
    source.release().await;
    let error = answer(async || {
        source.elect().await?;
        source.start(&Start::after(&place, Epoch::FIRST)).await
    });
    closed(&error.await.expect_err("its log is gone"), "invalidated");
}

#[tokio::test]
async fn a_server_whose_log_cannot_be_decoded_and_a_standby_are_refused() {
    let instance = Instance::start("logical-level").await;
    let world = World::on(instance.url(ADMIN)).await;
    world.run("alter system set wal_level = replica").await;
    instance.server("stop").await;
    instance.server("start").await;
    let refused = answer(async || world.builder().connect().await).await.expect_err("wal_level");
    closed(&refused, "wal_level is replica");
    instance.server("stop").await;
    let standby = Standby::start(&instance, world.options.get_port());
    let refused = answer(async || world.builder().connect().await).await.expect_err("a standby");
    closed(&refused, "standby");
    drop(standby);
    instance.server("start").await;
}

#[tokio::test]
async fn after_a_promotion_the_feed_goes_on_unless_its_position_is_of_a_history_that_was_left() {
    let instance = Instance::start("logical-promotion").await;
    let world = World::on(instance.url(ADMIN)).await;
    let source = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    let place = end(&read(&source, 1).await);
    world.acknowledge(&source, place.clone()).await;
    drop(source);
    instance.server("stop").await;
    let standby = Standby::start(&instance, world.options.get_port());
    let promoted = async {
        while sqlx::query("select pg_promote()").execute(&world.pool).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, promoted).await.expect("a promotion");
    world.append("a", 2).await;
    world.append("a", 3).await;

    let source = world.builder().connect().await.expect("a primary");
    source.elect().await.expect("nobody else is");
    source.start(&Start::after(&place, Epoch::FIRST)).await.expect("the other timeline was left behind it");
    let runs = read(&source, 2).await;
    assert_eq!(versions(&runs), [version("a", 2), version("a", 3)]);
    let after = end(&runs);
    assert!(after.tail() == Some("2") && place.tail() == Some("1"), "{place} and {after}");
    // A place behind the switch, on the timeline that did not go there.
    let elsewhere = Position::new('l', after.major(), 0).with_tail("1");
    let error = source.start(&Start::after(&elsewhere, Epoch::FIRST)).await.expect_err("another history");
    assert!(matches!(error, SourceError::Closed(Mismatch::SourceBehind { .. })), "{}", text(&error));
    source.release().await;
    world.builder().clean_up().await.expect("nobody is active");
    drop(standby);
    instance.server("start").await;
}

#[tokio::test]
async fn a_server_that_crashes_gives_again_what_was_not_acknowledged_and_loses_nothing() {
    let instance = Instance::start("logical-crash").await;
    let world = World::on(instance.url(ADMIN)).await;
    let source = world.started(&Position::ORIGIN).await;
    for number in 1..=4_u64 {
        world.append("a", i64::try_from(number).expect("small")).await;
        let place = end(&read(&source, 1).await);
        if number % 2 == 0 {
            world.acknowledge(&source, place.clone()).await;
        }
        instance.crash().await;
        let again = answer(async || {
            source.elect().await?;
            source.start(&Start::after(&place, Epoch::FIRST)).await
        });
        again.await.expect("everything behind it is there");
    }
    world.append("a", 5).await;
    assert_eq!(versions(&read(&source, 1).await), [version("a", 5)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_a_million_rows_passes_whole_in_bounded_memory() {
    const ROWS: usize = 1_000_000;
    let instance = Instance::start("logical-million").await;
    let world = World::on(instance.url(ADMIN)).await;
    let source = started(world.bare().outbox(outbox()), &Position::ORIGIN).await;
    let payload = format!(r#"json_build_object('n', n, 'text', '{}')"#, "x".repeat(300));
    let insert = format!(
        "insert into order_events (order_id, version, payload) select 'a', n, {payload} from generate_series(1, {ROWS}) n"
    );
    world.run(&insert).await;
    let before = resident_bytes();
    let (mut seen, mut peak, mut whole) = (0_u64, before, false);
    let began = std::time::Instant::now();
    while !whole {
        let run = source.next().await.expect("the server answers");
        for change in &run.changes {
            seen += 1;
            assert_eq!(event(change).version, seen);
        }
        whole = seen > 0 && run.end.position().is_some();
        peak = peak.max(resident_bytes());
        if whole {
            assert_eq!(
                changes(&[run]).last().and_then(|change| change.transaction.as_ref()?.count),
                u32::try_from(ROWS).ok()
            );
        }
    }
    let grown = (peak - before) >> 20;
    report(&format!("{seen} rows in {:.1?}, {grown} MiB more than before", began.elapsed()));
    assert_eq!(seen, ROWS as u64);
    assert!(grown < 64, "{grown} MiB");
}

/// The memory of this process that is in use (proc(5), statm).
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

#[tokio::test]
async fn a_standby_at_the_address_is_tried_again_once_the_feed_has_begun_and_refused_before() {
    let instance = Instance::start("logical-failover").await;
    let world = World::on(instance.url(ADMIN)).await;
    let source = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    let place = end(&read(&source, 1).await);
    world.acknowledge(&source, place.clone()).await;
    world.pool.close().await;
    instance.server("stop").await;
    let standby = Standby::start(&instance, world.options.get_port());
    // The process goes on, and another one starts.
    let told = async {
        loop {
            let error = source.elect().await.map(drop).expect_err("a standby");
            assert!(matches!(error, SourceError::Transient(_)), "{}", text(&error));
            if text(&error).contains("the server is a standby") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it answers");
    let error = world.builder().connect().await.expect_err("a standby");
    assert!(matches!(error, SourceError::Transient(_)), "{}", text(&error));
    let other = change_feed::FeedName::new("never_begun").expect("a valid name");
    let new = change_feed::LogicalSource::builder(&world.url(), &other).outbox(outbox());
    closed(&new.connect().await.expect_err("a standby"), "this server is a standby");
    drop(standby);
    instance.server("start").await;
    let started = answer(async || {
        source.elect().await?;
        source.start(&Start::after(&place, Epoch::FIRST)).await
    });
    started.await.expect("the primary is back");
}
