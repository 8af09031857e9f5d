//! Feeds that can't start: nothing is made for them.

use crate::world::{Ended, World};

/// Checks that a refused start made neither slot nor publication, which would hold the server's log.
async fn nothing_is_left(world: &World, ended: &Ended) {
    let left = "select (select count(*) from pg_replication_slots where slot_name = $1)
        + (select count(*) from pg_publication)";
    let left: i64 = sqlx::query_scalar(left).bind(&world.name).fetch_one(&world.pool).await.expect("an answer");
    assert_eq!(left, 0, "{}", ended.stderr);
}

#[tokio::test]
async fn a_table_whose_name_can_not_be_a_topic_is_refused_before_anything_is_made() {
    let world = World::new().await;
    world.run("create table \"größen\" (id bigint primary key)").await;
    let table = "public.größen";
    let ended = world.feed(&["--tables", table, "--topic-prefix", &world.name, "--create"]).ended().await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("--topic-of"), "{}", ended.stderr);
    nothing_is_left(&world, &ended).await;

    // With a topic of its choice, it is published.
    let chosen = format!("{table}={}.sizes", world.name);
    let feed = ["--tables", table, "--topic-of", &chosen, "--create", "--partitions", "1"];
    let running = world.feed(&feed).start();
    crate::feeds::slot_of(&world).await;
    world.run("insert into \"größen\" values (7)").await;
    let records = world.records(&format!("{}.sizes", world.name), 1).await;
    assert_eq!(records[0].key, "7");
    assert_eq!(running.terminated().await.code, Some(0));
    world.clean_up().await;
}

#[tokio::test]
async fn more_replicas_than_brokers_are_refused_before_anything_is_made() {
    let world = World::new().await;
    let rows = ["--tables", "public.people", "--topic-prefix", &world.name, "--create", "--replication-factor", "99"];
    let ended = world.feed(&rows).ended().await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("replication factor"), "{}", ended.stderr);
    nothing_is_left(&world, &ended).await;
}

#[tokio::test]
async fn a_list_of_brokers_that_nobody_can_reach_is_refused_and_not_shown() {
    let world = World::new().await;
    let rows = ["--tables", "public.people", "--topic-prefix", "p", "--create"];
    let lists = [
        "localhost",
        "localhost:",
        ":9092",
        "localhost:0",
        "localhost:65536",
        "localhost:+9092",
        "localhost:kafka",
        "localhost:9092,",
        ",localhost:9092",
        "localhost:9092,,localhost:9093",
        "localhost:9092;localhost:9093",
        "localhost:9092 localhost:9093",
        "kafka://localhost:9092",
        "PLAINTEXT://localhost:9092",
        "localhost:9092/topic",
        "user:s3cret@localhost:9092",
        "kafka://user:s3cret@localhost:9092",
        "localhost:9092,user:s3cret@localhost:9093",
        "::1:9092",
        "[::1:9092",
        "local host:9092",
        "[\"localhost:9092\"]",
        "localhost:9092:9093",
    ];
    for list in lists {
        let ended = world.feed(&rows).env("KAFKA_BROKERS", list).ended().await;
        assert_eq!(ended.code, Some(2), "{list}: {}", ended.stderr);
        assert!(ended.stderr.contains("KAFKA_BROKERS") && ended.stderr.contains("HOST:PORT"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("s3cret"), "{list}: {}", ended.stderr);
        nothing_is_left(&world, &ended).await;
    }
}

#[tokio::test]
async fn a_property_of_the_client_that_can_not_be_had_is_refused_before_anything_is_made() {
    let world = World::new().await;
    let rows = ["--tables", "public.people", "--topic-prefix", "p", "--create", "--config", "feed.toml"];
    for (property, words) in [
        ("\"sasl.pasword\" = \"s3cret\"", "sasl.pasword"),
        ("\"acks\" = \"1\"", "acks"),
        ("\"transactional.id\" = \"other\"", "transactional.id"),
        #[cfg(not(feature = "kafka-ssl"))]
        ("\"security.protocol\" = \"ssl\"", "kafka-ssl"),
        #[cfg(not(feature = "kafka-ssl"))]
        ("\"security.protocol\" = \"sasl_ssl\"", "kafka-ssl"),
    ] {
        std::fs::write(world.folder.path().join("feed.toml"), format!("[kafka]\n{property}\n")).expect("a file");
        let ended = world.feed(&rows).ended().await;
        assert_eq!(ended.code, Some(2), "{property}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{property}: {}", ended.stderr);
        assert!(!ended.stderr.contains("s3cret"), "{property}: {}", ended.stderr);
        nothing_is_left(&world, &ended).await;
    }
}

#[tokio::test]
async fn a_role_without_the_rights_is_refused_before_anything_is_made() {
    let world = World::new().await;
    let role = format!("{}_role", world.name);
    world.run(&format!("create role {role} login replication password 'role'")).await;
    let mut url = world.url.clone();
    let (at, start) = (url.find('@').expect("a host"), url.find("://").expect("a scheme") + 3);
    url.replace_range(start..at, &format!("{role}:role"));
    let rows = ["--tables", "public.people", "--topic-prefix", &world.name, "--to", "null", "--create"];
    let ended = world.feed(&rows).env("DATABASE_URL", &url).ended().await;
    assert!(matches!(ended.code, Some(1..=3)), "{}", ended.stderr);
    assert!(ended.stderr.contains("permission"), "{}", ended.stderr);
    nothing_is_left(&world, &ended).await;
    world.run(&format!("drop role {role}")).await;
}
