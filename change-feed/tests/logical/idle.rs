//! A feed without changes.

use std::time::Duration;

use change_feed::{Position, Source};

use crate::logical::world::{PATIENCE, World, append};

#[tokio::test]
async fn an_idle_feed_in_a_busy_cluster_lets_the_server_drop_its_log() {
    let world = World::new().await;
    let neighbour = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    let restart = || async { world.slot("restart_lsn").await.expect("the slot is there") };
    let before = restart().await;
    let moving = async {
        loop {
            let run = source.next().await.expect("the server answers");
            assert!(run.changes.is_empty(), "{run:?}");
            let position = run.end.position().expect("a complete end").clone();
            world.acknowledge(&source, position).await;
        }
    };
    let writing = async {
        let mut connection = neighbour.pool.acquire().await.expect("a connection");
        let goal = format!(
            "select (restart_lsn > '{before}'::pg_lsn + 1000000)::text from pg_replication_slots where slot_name = '{}'",
            world.feed
        );
        while world.text(&goal).await.as_deref() != Some("true") {
            for version in 0..50 {
                append(&mut connection, &"a".repeat(1_000), version).await;
            }
            // It is the server that says where all running transactions begin, every 15 s, and at a checkpoint.
            neighbour.run("checkpoint").await;
        }
    };
    tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            () = moving => {}
            () = writing => {}
        }
    })
    .await
    .expect("the slot follows");
}

#[tokio::test]
async fn an_acknowledgement_moves_no_position() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    let run = source.next().await.expect("where it begins");
    let position = run.end.position().expect("a complete end").clone();
    for _ in 0..10 {
        world.acknowledge(&source, position.clone()).await;
    }
    // Others write in this cluster too, so a few moves may come; one for each acknowledgement may not.
    let mut moves = 0;
    while let Ok(run) = tokio::time::timeout(Duration::from_millis(200), source.next()).await {
        run.expect("the server answers");
        moves += 1;
        assert!(moves < 8, "they come one after the other");
    }
}
