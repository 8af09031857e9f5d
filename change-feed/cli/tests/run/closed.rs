//! Feeds that stop, and say why.

use crate::world::World;

#[tokio::test]
async fn a_feed_whose_slot_is_gone_fails_closed_with_exit_code_3() {
    let world = World::new().await;
    let (outbox, target) = (world.outbox(), format!("ndjson:{}", world.file().display()));
    let feed = ["--outbox", &outbox, "--topic", "greetings", "--to", &target, "--create"];
    let running = world.feed(&feed).start();
    let began = std::time::Instant::now();
    while world.lines().is_empty() {
        assert!(began.elapsed() < crate::world::PATIENCE, "no line");
        let next = i64::try_from(began.elapsed().as_micros()).expect("a short time");
        world.greet(next..next + 1).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(running.terminated().await.code, Some(0));
    world.run(&format!("select pg_drop_replication_slot('{}')", world.name)).await;
    let ended = world.feed(&feed).ended().await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("failed closed") && ended.stderr.contains("is missing"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_table_without_a_key_is_refused_before_its_writers_are_broken() {
    let world = World::new().await;
    world.run("create table notes (text text)").await;
    let ended =
        world.feed(&["--tables", "public.notes", "--topic-prefix", "x", "--to", "null", "--create"]).ended().await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("primary key"), "{}", ended.stderr);
    world.run("insert into notes values ('a'); update notes set text = 'b'").await;
}

#[tokio::test]
async fn a_table_that_is_no_outbox_is_refused_with_what_would_be_right() {
    let world = World::new().await;
    let ended = world.feed(&["--outbox", "public.people", "--topic", "t", "--to", "null", "--create"]).ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("--tables"), "{}", ended.stderr);
}
