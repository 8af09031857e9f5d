//! What a source gives, and where it can be resumed.

use change_feed::outbox::Event;
use change_feed::source::Start;
use change_feed::{Content, Epoch, Position, Source};
use sqlx::sqlite::SqliteJournalMode;

use crate::sqlite_outbox::world::{PATIENCE, World, change, end, guard, next, nothing_comes, started, versions};

#[tokio::test]
async fn what_commits_is_given_once_and_in_order_in_every_journal_mode() {
    for mode in [SqliteJournalMode::Wal, SqliteJournalMode::Delete, SqliteJournalMode::Truncate] {
        let world = World::in_mode(mode).await;
        let source = world.started(&Position::ORIGIN).await;
        world.change(&["a", "b", "a"]).await;
        let first = next(&source).await;
        assert_eq!(versions(&first.changes), world.history().await);
        world.change(&["b"]).await;
        let second = next(&source).await;
        assert_eq!(versions(&second.changes), [("b".to_owned(), 2)]);
        assert!(end(&first) < second.changes[0].position && second.changes[0].position <= end(&second));
        nothing_comes(&source).await;
    }
}

#[tokio::test]
async fn an_event_is_given_as_it_stands_in_the_table_and_its_type_as_consumers_see_it() {
    let world = World::new().await;
    let mut transaction = world.pool.begin_with("begin immediate").await.expect("a transaction");
    let insert = sqlx::query("insert into carts (cart_id, version) values ('a', 1)");
    insert.execute(&mut *transaction).await.expect("a cart");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let at = "2026-03-01T12:00:00.123Z".parse().expect("a time");
    let payload = serde_json::json!({"name": "Käse"});
    let event = Event::new("item_added", "a", 1, &payload).occurred_at(at).traceparent(trace);
    let event_id = event.id();
    guard().append(&mut *transaction, event).await.expect("an event");
    transaction.commit().await.expect("a commit");
    let outbox = guard().outbox_table().event_type_format("cart.", ".v1");
    let source = started(world.builder().outbox(outbox), &Position::ORIGIN).await;
    let given = next(&source).await;
    let Content::Event(event) = &given.changes[0].content else { panic!("an event") };
    assert_eq!((&*event.outbox, &*event.key, event.version), ("cart_events", "a", 1));
    assert_eq!(event.event_id.as_uuid(), &event_id);
    assert_eq!(&*event.event_type, "cart.item_added.v1");
    assert_eq!(event.payload, r#"{"name":"Käse"}"#);
    assert_eq!(event.occurred_at, at);
    assert_eq!(event.traceparent.as_deref(), Some(trace));
    assert_eq!(given.changes[0].transaction, None, "SQLite names no transactions");
}

#[tokio::test]
async fn the_history_is_whole_when_every_run_is_resumed_from_the_text_of_the_last_position() {
    for max_page_rows in [1, 2, 7, 10_000] {
        let world = World::new().await;
        let mut position = Position::ORIGIN;
        let mut given = Vec::new();
        for round in 0..4 {
            world.change(&["a", "b"]).await;
            world.change(&["a"]).await;
            while given.len() < 3 * (round + 1) {
                let source = started(world.builder().max_page_rows(max_page_rows), &position).await;
                let run = next(&source).await;
                assert!(run.changes.len() <= max_page_rows as usize);
                assert!(run.changes.iter().all(|c| position < c.position && c.position <= end(&run)));
                given.extend(versions(&run.changes));
                position = end(&run).to_string().parse().expect("a position");
                source.release().await;
            }
        }
        assert_eq!(given, world.history().await, "in pages of {max_page_rows}");
    }
}

#[tokio::test]
async fn payloads_are_held_up_to_a_limit_of_bytes() {
    let world = World::new().await;
    let mut connection = world.pool.acquire().await.expect("a connection");
    change(&mut connection, &["a"; 20], &"x".repeat(10_000)).await;
    let source = started(world.builder().max_page_bytes(35_000), &Position::ORIGIN).await;
    let mut given = Vec::new();
    while given.len() < 20 {
        let run = next(&source).await;
        assert!(run.changes.len() <= 4, "{} rows of 10 kB", run.changes.len());
        given.extend(versions(&run.changes));
    }
    assert_eq!(given, world.history().await);
}

#[tokio::test]
async fn a_rewind_gives_the_same_again() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    world.change(&["a", "b"]).await;
    let first = next(&source).await;
    world.change(&["a", "b"]).await;
    let second = next(&source).await;
    source.start(&Start::after(&end(&first), Epoch::FIRST)).await.expect("a position that was given");
    assert_eq!(next(&source).await, second);
    source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.expect("the origin");
    assert_eq!(versions(&next(&source).await.changes), world.history().await);
}

#[tokio::test]
async fn a_pool_of_the_applications_own_serves_as_well() {
    let world = World::new().await;
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect(&world.url()).await.expect("a pool");
    let builder = change_feed::SqliteOutboxSource::on_pool(pool, &crate::sqlite_outbox::world::feed())
        .outbox(guard().outbox_table());
    let source = started(builder, &Position::ORIGIN).await;
    world.change(&["a"]).await;
    assert_eq!(versions(&next(&source).await.changes), world.history().await);
}

#[tokio::test]
async fn calls_that_are_dropped_lose_nothing() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    let writer = async {
        for _ in 0..200 {
            world.change(&["a"]).await;
        }
    };
    let (mut given, mut dropped) = (Vec::new(), 0);
    let reader = async {
        while given.len() < 200 {
            let patience = std::time::Duration::from_micros(fastrand::u64(0..2_000));
            match tokio::time::timeout(patience, source.next()).await {
                Ok(changes) => given.extend(versions(&changes.expect("the source works").changes)),
                Err(_) => dropped += 1,
            }
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(writer, reader) }).await.expect("all comes");
    assert_eq!(given, world.history().await);
    assert!(dropped > 10, "only {dropped} calls were dropped");
}
