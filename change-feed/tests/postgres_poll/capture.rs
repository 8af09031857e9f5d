//! What a source gives, and where it can be resumed.

use change_feed::source::Start;
use change_feed::{Content, Epoch, Position, Source, TransactionId};

use crate::postgres_poll::steps::{next, nothing_comes};
use crate::postgres_poll::world::{World, append, end, outbox, started, version_of, versions};

#[tokio::test]
async fn what_commits_is_given_once_and_in_order() {
    let world = World::new().await;
    let carts = world.carts(3).await;
    let source = world.started(&Position::ORIGIN).await;
    world.change(&carts).await;
    let first = next(&source).await;
    assert_eq!(versions(&first.changes), world.history().await);
    world.change(&carts[..1]).await;
    let second = next(&source).await;
    assert_eq!(versions(&second.changes), world.history().await[3..]);
    assert!(end(&first) < second.changes[0].position && second.changes[0].position <= end(&second));
    nothing_comes(&source).await;
}

#[tokio::test]
async fn an_event_is_given_as_it_stands_in_the_table_and_its_type_as_consumers_see_it() {
    let world = World::new().await;
    let cart = world.carts(1).await[0];
    let event_id = uuid::Uuid::now_v7();
    let payload = r#"{ "b": 12.50,  "a": null, "name": "Käse" }"#;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    sqlx::query(
        "insert into cart_events (cart_id, event_id, event_type, payload, occurred_at, traceparent)
        values ($1, $2, 'item_added', $3::json, '2026-03-01T12:00:00.123456Z', $4)",
    )
    .bind(cart)
    .bind(event_id)
    .bind(payload)
    .bind(trace)
    .execute(&world.pool)
    .await
    .expect("an event");
    let outbox = outbox().event_type_format("cart.", ".v1");
    let source = started(world.builder().outbox(outbox), &Position::ORIGIN).await;
    let given = next(&source).await;
    let Content::Event(event) = &given.changes[0].content else { panic!("an event") };
    assert_eq!(&*event.outbox, "public.cart_events");
    assert_eq!(event.event_id.as_uuid(), &event_id);
    assert_eq!(*event.key, cart.to_string());
    assert_eq!((event.version, &*event.event_type), (1, "cart.item_added.v1"));
    assert_eq!(event.payload, payload, "byte for byte");
    assert_eq!(event.occurred_at.to_rfc3339(), "2026-03-01T12:00:00.123456+00:00");
    assert_eq!(event.traceparent.as_deref(), Some(trace));
}

#[tokio::test]
async fn a_rolled_back_transaction_gives_nothing() {
    let world = World::new().await;
    let carts = world.carts(2).await;
    let source = world.started(&Position::ORIGIN).await;
    let mut lost = world.pool.begin().await.expect("a transaction");
    append(&mut lost, carts[0], "{}").await;
    let mut kept = world.pool.begin().await.expect("a transaction");
    append(&mut kept, carts[1], "{}").await;
    lost.rollback().await.expect("a rollback");
    kept.commit().await.expect("a commit");
    let given = next(&source).await;
    assert_eq!(versions(&given.changes), world.history().await);
    nothing_comes(&source).await;
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_given_whatever_numbers_it_drew() {
    let world = World::new().await;
    let carts = world.carts(2).await;
    let source = world.started(&Position::ORIGIN).await;
    let mut late = world.pool.begin().await.expect("a transaction");
    append(&mut late, carts[0], "{}").await;
    for _ in 0..3 {
        world.change(&carts[1..]).await;
    }
    let mut given = 0;
    while given < 3 {
        let changes = next(&source).await.changes;
        assert!(changes.iter().all(|change| version_of(change).cart == carts[1]));
        given += changes.len();
    }
    nothing_comes(&source).await;
    late.commit().await.expect("a commit");
    let changes = next(&source).await.changes;
    assert_eq!(changes.iter().map(version_of).map(|v| (v.cart, v.version)).collect::<Vec<_>>(), [(carts[0], 1)]);
}

#[tokio::test]
async fn every_change_names_its_transaction_and_the_last_one_the_count() {
    let world = World::new().await;
    let carts = world.carts(3).await;
    world.change(&carts).await;
    world.change(&carts[..2]).await;
    let source = world.started(&Position::ORIGIN).await;
    let changes = world.all_of(&source).await;
    let places: Vec<_> =
        changes.iter().map(|c| c.transaction.clone().expect("PostgreSQL names transactions")).collect();
    let shape: Vec<_> = places.iter().map(|place| (place.index, place.count)).collect();
    assert_eq!(shape, [(0, None), (1, None), (2, Some(3)), (0, None), (1, Some(2))]);
    let ids: Vec<i64> = sqlx::query_scalar("select transaction_id::text::bigint from cart_events order by sequence")
        .fetch_all(&world.pool)
        .await
        .expect("the ids");
    assert_eq!(
        places.iter().map(|place| place.id.clone()).collect::<Vec<_>>(),
        ids.iter().map(|id| TransactionId::from(id.unsigned_abs())).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn places_in_a_transaction_stay_right_where_a_window_is_paged_and_resumed() {
    let world = World::new().await;
    let carts = world.carts(4).await;
    let (mut one, mut two) = (world.pool.begin().await.expect("begins"), world.pool.begin().await.expect("begins"));
    for _ in 0..5 {
        append(&mut one, carts[0], "{}").await;
        append(&mut two, carts[1], "{}").await;
    }
    one.commit().await.expect("a commit");
    two.commit().await.expect("a commit");
    world.change(&carts[2..]).await;
    let mut position = Position::ORIGIN;
    let (mut given, mut places) = (Vec::new(), Vec::new());
    while given.len() < 12 {
        // Another process each time: nothing is known but the position's text.
        let source =
            started(world.builder().max_window_rows(3), &position.to_string().parse().expect("a position")).await;
        let page = next(&source).await;
        source.release().await;
        places.extend(page.changes.iter().map(|c| c.transaction.clone().expect("a place")));
        given.extend(versions(&page.changes));
        position = end(&page);
    }
    assert_eq!(given, world.history().await);
    for (index, count) in [(4, Some(5)), (1, Some(2))] {
        assert!(places.iter().any(|place| (place.index, place.count) == (index, count)), "{places:?}");
    }
    let one: Vec<_> = places.iter().step_by(2).take(5).map(|place| (place.index, place.count)).collect();
    assert_eq!(one, [(0, None), (1, None), (2, None), (3, None), (4, Some(5))]);
}

#[tokio::test]
async fn the_history_is_whole_when_every_run_is_resumed_from_the_text_of_the_last_position() {
    for max_window_rows in [1, 2, 7, 10_000] {
        let world = World::new().await;
        let carts = world.carts(3).await;
        let mut late = world.pool.begin().await.expect("a transaction");
        append(&mut late, carts[2], "{}").await;
        let mut position = Position::ORIGIN;
        let mut given = Vec::new();
        for round in 0..4 {
            for _ in 0..3 {
                world.change(&carts[..2]).await;
            }
            let expected = 6 * (round + 1);
            while given.len() < expected {
                let source = started(world.builder().max_window_rows(max_window_rows), &position).await;
                let run = next(&source).await;
                assert!(run.changes.len() <= max_window_rows as usize);
                assert!(run.changes.iter().all(|c| position < c.position && c.position <= end(&run)));
                given.extend(versions(&run.changes));
                position = end(&run).to_string().parse().expect("a position");
                source.release().await;
            }
        }
        late.commit().await.expect("a commit");
        let source = started(world.builder().max_window_rows(max_window_rows), &position).await;
        given.extend(versions(&next(&source).await.changes));
        let mut history = world.history().await;
        let first = history.remove(0);
        history.push(first);
        assert_eq!(given, history, "in pages of {max_window_rows}");
    }
}

#[tokio::test]
async fn payloads_are_held_up_to_a_limit_of_bytes() {
    let world = World::new().await;
    let cart = world.carts(1).await[0];
    let large = format!("\"{}\"", "x".repeat(10_000));
    let mut transaction = world.pool.begin().await.expect("a transaction");
    for _ in 0..20 {
        append(&mut transaction, cart, &large).await;
    }
    transaction.commit().await.expect("a commit");
    let source = started(world.builder().max_page_bytes(35_000), &Position::ORIGIN).await;
    let mut given = Vec::new();
    while given.len() < 20 {
        let run = next(&source).await;
        assert!(run.changes.len() <= 4, "{} rows of 10 kB", run.changes.len());
        given.extend(run.changes);
    }
    assert_eq!(versions(&given), world.history().await);
    assert_eq!(given[19].transaction.as_ref().and_then(|place| place.count), Some(20));
    nothing_comes(&source).await;
}

#[tokio::test]
async fn a_rewind_gives_the_same_again() {
    let world = World::new().await;
    let carts = world.carts(2).await;
    let source = world.started(&Position::ORIGIN).await;
    world.change(&carts).await;
    let first = next(&source).await;
    world.change(&carts).await;
    let second = next(&source).await;
    source.start(&Start::after(&end(&first), Epoch::FIRST)).await.expect("a position that was given");
    assert_eq!(next(&source).await.changes, second.changes);
    source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.expect("the origin");
    assert_eq!(versions(&next(&source).await.changes), world.history().await);
}

#[tokio::test]
async fn calls_that_are_dropped_lose_nothing() {
    let world = World::new().await;
    let carts = world.carts(1).await;
    let source = world.started(&Position::ORIGIN).await;
    let writer = async {
        for _ in 0..200 {
            world.change(&carts).await;
        }
    };
    let mut given = Vec::new();
    let mut dropped = 0;
    let reader = async {
        while given.len() < 200 {
            // From nothing at all to a little more than a poll takes.
            let patience = std::time::Duration::from_micros(fastrand::u64(0..3_000));
            match tokio::time::timeout(patience, source.next()).await {
                Ok(changes) => given.extend(versions(&changes.expect("the source works").changes)),
                Err(_) => dropped += 1,
            }
        }
    };
    tokio::time::timeout(crate::postgres_poll::world::PATIENCE, async { tokio::join!(writer, reader) })
        .await
        .expect("all comes");
    assert_eq!(given, world.history().await);
    assert!(dropped > 10, "only {dropped} calls were dropped");
}
