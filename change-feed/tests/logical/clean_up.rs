//! The end of a feed.

use change_feed::source::Start;
use change_feed::{Epoch, Position, Source, SourceError};

use crate::logical::world::{World, read, text};

#[tokio::test]
async fn cleaning_up_takes_away_what_the_feed_has_made_and_it_can_begin_anew() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    let position = crate::logical::world::end(&read(&source, 1).await);
    world.acknowledge(&source, position).await;

    let error = world.builder().clean_up().await.expect_err("a relay is active");
    assert!(matches!(error, SourceError::Transient(_)), "{}", text(&error));
    assert!(world.slot("slot_name").await.is_some());

    source.release().await;
    world.builder().clean_up().await.expect("nobody is active");
    world.builder().clean_up().await.expect("there is nothing left to do");
    let left = "select (exists (select from pg_replication_slots where database = current_database())
        or exists (select from pg_publication) or exists (select from change_feed.feeds))::text";
    assert_eq!(world.text(left).await.as_deref(), Some("false"));

    let anew = world.builder().connect().await.expect("the server");
    assert_eq!(anew.elect().await.expect("nobody else is").checkpoint, None);
    anew.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.expect("a new slot");
    world.append("a", 2).await;
    assert_eq!(crate::logical::world::versions(&read(&anew, 1).await), [crate::logical::world::version("a", 2)]);
}

#[tokio::test]
async fn cleaning_up_leaves_what_somebody_else_has_made() {
    let world = World::new().await;
    world.run(&format!("create publication {} for table order_events", world.feed)).await;
    world.run(&format!("select pg_create_logical_replication_slot('{}', 'test_decoding')", world.feed)).await;
    let error = world.builder().clean_up().await.expect_err("a slot of another plug-in");
    assert!(matches!(error, SourceError::Closed(_)), "{}", text(&error));
    world.run(&format!("select pg_drop_replication_slot('{}')", world.feed)).await;
    world.builder().clean_up().await.expect("nobody is active");
    assert_eq!(world.text("select count(*)::text from pg_publication").await.as_deref(), Some("1"));
}
