//! Whole feeds.

use crate::world::World;

#[tokio::test]
async fn an_outbox_becomes_lines_of_a_file_and_a_restart_repeats_none() {
    let world = World::new().await;
    let (outbox, target) = (world.outbox(), format!("ndjson:{}", world.file().display()));
    let feed = ["--outbox", &outbox, "--topic", "greetings", "--type-suffix", ".v1", "--to", &target, "--create"];
    let first = world.feed(&feed).start();
    // What commits before the slot is there is not in the feed.
    slot_of(&world).await;
    world.greet(1..4).await;
    world.lines_at_least(3).await;
    let ended = first.terminated().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    world.greet(4..6).await;
    let second = world.feed(&feed).start();
    let lines = world.lines_at_least(5).await;
    assert_eq!(second.terminated().await.code, Some(0));
    let keys: Vec<_> = lines.iter().map(|line| line["key"].as_str().expect("text")).collect();
    assert_eq!(keys, ["1", "2", "3", "4", "5"]);
    assert_eq!(lines[0]["headers"]["ce_type"], "said.v1");
    assert_eq!(lines[0]["headers"]["ce_source"], format!("/change-feed/{}", world.name));
    assert_eq!(lines[2]["headers"]["feed_tx_count"], "3");
    assert_eq!(lines[0]["payload"], serde_json::json!({ "id": 1 }));
    world.clean_up().await;
}

#[tokio::test]
async fn rows_become_flat_records_of_kafka_with_tombstones() {
    let world = World::new().await;
    let feed = ["--tables", "public.people", "--topic-prefix", &world.name, "--create", "--partitions", "1"];
    let running = world.feed(&feed).start();
    slot_of(&world).await;
    world.run("insert into people values (1, 'Ann', 12.50), (2, 'Bob', null)").await;
    world.run("update people set paid = 99 where id = 2").await;
    world.run("delete from people where id = 1").await;
    let records = world.records(&format!("{}.public.people", world.name), 4).await;
    assert_eq!(running.terminated().await.code, Some(0));
    let shown: Vec<_> = records
        .iter()
        .map(|record| (&*record.key, &*record.headers["feed_op"], record.value.as_ref().map(ToString::to_string)))
        .collect();
    let ann = r#"{"id":1,"name":"Ann","paid":12.5}"#.to_owned();
    let bob = |paid: &str| format!(r#"{{"id":2,"name":"Bob","paid":{paid}}}"#);
    let expected = [
        ("1", "insert", Some(ann)),
        ("2", "insert", Some(bob("null"))),
        ("2", "update", Some(bob("99.0"))),
        ("1", "delete", None),
    ];
    assert_eq!(shown, expected);
    world.clean_up().await;
}

#[tokio::test]
async fn a_file_tells_what_the_command_line_leaves_out() {
    let world = World::new().await;
    let config = world.folder.path().join("feed.toml");
    let text = format!(
        "outbox = {:?}\ntopic = {:?}\ncreate = true\npartitions = 2\ndelivery = \"idempotent\"\n[kafka]\n\"client.rack\" = \"a\"\n",
        world.outbox(),
        world.name
    );
    std::fs::write(&config, text).expect("a file");
    let running = world.feed(&["--config", "feed.toml"]).start();
    slot_of(&world).await;
    world.greet(1..3).await;
    let mut keys: Vec<_> = world.records(&world.name, 2).await.into_iter().map(|record| record.key).collect();
    keys.sort();
    assert_eq!(keys, ["1", "2"]);
    assert_eq!(running.terminated().await.code, Some(0));
    world.clean_up().await;
}

/// Waits for the feed's slot.
pub(crate) async fn slot_of(world: &World) {
    let began = std::time::Instant::now();
    let look = "select count(*) from pg_replication_slots where slot_name = $1 and confirmed_flush_lsn is not null";
    loop {
        let there: i64 = sqlx::query_scalar(look).bind(&world.name).fetch_one(&world.pool).await.expect("an answer");
        if there > 0 {
            return;
        }
        assert!(began.elapsed() < crate::world::PATIENCE, "no slot");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
