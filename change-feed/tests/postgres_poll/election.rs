//! Who polls, and what is stored.

use change_feed::source::Start;
use std::time::Duration;

use change_feed::{Epoch, Mismatch, Position, Source, SourceError};

use crate::postgres_poll::steps::{checkpoint, next, nothing_comes};
use crate::postgres_poll::world::{PATIENCE, World, append, end, text, versions};

/// Ends the session that holds the election, as the server's operator would.
async fn end_the_sessions_of_the_feed(world: &World) {
    let ended: i64 = sqlx::query_scalar(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where application_name = 'change-feed carts' and datname = current_database()",
    )
    .fetch_one(&world.pool)
    .await
    .expect("a session of one's own role may be ended");
    assert!(ended > 0);
}

#[tokio::test]
async fn one_source_is_elected_and_the_next_takes_over_when_its_session_ends() {
    let world = World::new().await;
    let carts = world.carts(1).await;
    world.change(&carts).await;
    let first = world.started(&Position::ORIGIN).await;
    let standby = world.source().await;
    let waiting = tokio::time::timeout(Duration::from_millis(800), standby.elect()).await;
    assert!(waiting.is_err(), "both are elected");
    let given = next(&first).await;

    end_the_sessions_of_the_feed(&world).await;
    let lost = first.next().await.expect_err("the session is gone");
    assert!(matches!(lost, SourceError::Transient(_)), "{lost:?}");
    let elected = tokio::time::timeout(PATIENCE, standby.elect()).await.expect("takes over").expect("a free lock");
    let old = first.acknowledge(&checkpoint(elected.identity, end(&given))).await.expect_err("it is not elected");
    assert!(matches!(old, SourceError::Transient(_)), "{old:?}");
    standby.start(&Start::after(&end(&given), Epoch::FIRST)).await.expect("a position of this database");
    world.change(&carts).await;
    assert_eq!(versions(&next(&standby).await.changes), world.history().await[1..]);
}

#[tokio::test]
async fn a_source_that_never_noticed_its_loss_can_not_acknowledge() {
    let world = World::new().await;
    let carts = world.carts(1).await;
    world.change(&carts).await;
    let first = world.started(&Position::ORIGIN).await;
    let given = next(&first).await;
    end_the_sessions_of_the_feed(&world).await;
    let second = world.source().await;
    let elected = second.elect().await.expect("the lock is free");
    let refused = first.acknowledge(&checkpoint(elected.identity, end(&given))).await;
    assert!(matches!(refused, Err(SourceError::Transient(_))), "{refused:?}");
    assert_eq!(second.elect().await.expect("it is elected").checkpoint, None);
}

#[tokio::test]
async fn a_source_that_is_elected_stays_so_and_comes_back_after_a_loss() {
    let world = World::new().await;
    let carts = world.carts(1).await;
    let source = world.started(&Position::ORIGIN).await;
    assert_eq!(source.elect().await.expect("again").checkpoint, None);
    end_the_sessions_of_the_feed(&world).await;
    source.next().await.expect_err("the session is gone");
    let elected = tokio::time::timeout(PATIENCE, source.elect()).await.expect("at once").expect("a free lock");
    assert_eq!(elected.checkpoint, None);
    source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.expect("started");
    world.change(&carts).await;
    assert_eq!(versions(&next(&source).await.changes), world.history().await);
}

#[tokio::test]
async fn a_release_lets_the_next_one_in_and_ends_a_next_under_way() {
    let world = World::new().await;
    let first = world.started(&Position::ORIGIN).await;
    let (ended, ()) = tokio::join!(first.next(), first.release());
    assert!(matches!(ended, Err(SourceError::Transient(_))), "{ended:?}");
    let second = world.source().await;
    tokio::time::timeout(PATIENCE, second.elect()).await.expect("at once").expect("a free lock");
}

#[tokio::test]
async fn an_acknowledgement_is_found_at_the_next_election_and_never_moves_backwards() {
    let world = World::new().await;
    let carts = world.carts(1).await;
    let source = world.started(&Position::ORIGIN).await;
    let identity = source.elect().await.expect("it is elected").identity;
    world.change(&carts).await;
    let first = checkpoint(identity.clone(), end(&next(&source).await));
    world.change(&carts).await;
    let second = checkpoint(identity, end(&next(&source).await));
    for acknowledged in [&first, &second, &first, &second] {
        source.acknowledge(acknowledged).await.expect("it is elected");
    }
    assert_eq!(source.elect().await.expect("it is elected").checkpoint.as_ref(), Some(&second));
    source.release().await;
    let other = world.source().await;
    assert_eq!(other.elect().await.expect("a free lock").checkpoint, Some(second));
    nothing_comes_after_an_acknowledgement(&world).await;
}

/// What the feed writes itself must not look like a change to it.
async fn nothing_comes_after_an_acknowledgement(world: &World) {
    let published: Option<String> = sqlx::query_scalar("select published::text from change_feed.feeds")
        .fetch_one(&world.pool)
        .await
        .expect("a feed");
    let unpublished: i64 = sqlx::query_scalar(
        "select count(*) from cart_events where not pg_visible_in_snapshot(transaction_id, $1::text::pg_snapshot)",
    )
    .bind(published)
    .fetch_one(&world.pool)
    .await
    .expect("a count");
    assert_eq!(unpublished, 0, "the snapshot that prunes");
}

#[tokio::test]
async fn an_acknowledgement_moves_no_position() {
    let world = World::new().await;
    let carts = world.carts(1).await;
    let source = world.started(&Position::ORIGIN).await;
    let identity = source.elect().await.expect("it is elected").identity;
    world.change(&carts).await;
    let given = next(&source).await;
    for _ in 0..5 {
        source.acknowledge(&checkpoint(identity.clone(), end(&given))).await.expect("it is elected");
    }
    nothing_comes(&source).await;
}

#[tokio::test]
async fn the_identity_tells_databases_apart_and_is_the_same_at_every_election() {
    let (one, other) = (World::new().await, World::new().await);
    let first = one.source().await.elect().await.expect("elected").identity;
    let again = one.source().await.elect().await.expect("elected").identity;
    let different = other.source().await.elect().await.expect("elected").identity;
    assert_eq!(first, again);
    assert_eq!((&*first.kind, &*first.captures), ("postgres-poll", "public.cart_events"));
    assert_ne!(first.system, different.system);
}

#[tokio::test]
async fn a_position_ahead_of_the_server_fails_closed() {
    let world = World::new().await;
    let source = world.source().await;
    source.elect().await.expect("elected");
    let ahead = Position::new('p', 7, u64::MAX).with_tail("99999999:99999999:/42.8000000000000001");
    let closed = source.start(&Start::after(&ahead, Epoch::FIRST)).await.expect_err("the server has not come so far");
    assert!(matches!(closed, SourceError::Closed(Mismatch::SourceBehind { .. })), "{}", text(&closed));
}

#[tokio::test]
async fn a_database_with_another_event_in_the_place_of_the_last_one_fails_closed() {
    let world = World::new().await;
    let carts = world.carts(1).await;
    let source = world.started(&Position::ORIGIN).await;
    world.change(&carts).await;
    let position = end(&next(&source).await);
    source.start(&Start::after(&position, Epoch::FIRST)).await.expect("nothing has changed");
    // As after a restore: the same numbers and ids were given to other events.
    world.run("update cart_events set event_id = gen_random_uuid()").await;
    let closed = source.start(&Start::after(&position, Epoch::FIRST)).await.expect_err("another history");
    assert!(matches!(closed, SourceError::Closed(Mismatch::SourceBehind { .. })), "{}", text(&closed));
    world.run("delete from cart_events").await;
    source.elect().await.expect("elected");
    let closed = source.start(&Start::after(&position, Epoch::FIRST)).await.expect_err("a shorter history");
    assert!(matches!(closed, SourceError::Closed(Mismatch::SourceBehind { .. })), "{}", text(&closed));
}

#[tokio::test]
async fn an_event_that_was_pruned_after_its_publication_is_no_other_history() {
    let world = World::new().await;
    let carts = world.carts(2).await;
    let source = world.started(&Position::ORIGIN).await;
    world.change(&carts[..1]).await;
    let position = end(&next(&source).await);
    world.change(&carts).await;
    world.run("delete from cart_events where sequence = 1").await;
    source.start(&Start::after(&position, Epoch::FIRST)).await.expect("the newest event is there");
    assert_eq!(versions(&next(&source).await.changes), world.history().await);
}

#[tokio::test]
async fn a_position_of_another_kind_of_source_fails_closed() {
    let world = World::new().await;
    let source = world.source().await;
    source.elect().await.expect("elected");
    let closed =
        source.start(&Start::after(&Position::new('s', 1, 1), Epoch::FIRST)).await.expect_err("a position of SQLite");
    assert!(matches!(closed, SourceError::Closed(Mismatch::Differs { .. })), "{}", text(&closed));
}

#[tokio::test]
async fn rows_that_were_copied_from_another_server_are_refused() {
    let world = World::new().await;
    let carts = world.carts(1).await;
    world.change(&carts).await;
    world.run("update cart_events set transaction_id = '999999999999'").await;
    let source = world.source().await;
    source.elect().await.expect("elected");
    let fatal = source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.expect_err("ids of another server");
    assert!(text(&fatal).contains("set transaction_id"), "{}", text(&fatal));
    world.run("update cart_events set transaction_id = '3'").await;
    source.elect().await.expect("elected");
    source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.expect("the remedy works");
    assert_eq!(versions(&next(&source).await.changes), world.history().await);
}

#[tokio::test]
async fn a_number_that_is_drawn_before_the_lock_inverts_versions_and_only_the_guard_can_prevent_it() {
    let world = World::new().await;
    world
        .run(
            "alter table cart_events alter sequence set default nextval('cart_events_numbers');
            create or replace function step() returns trigger language plpgsql as $$
            begin
                update carts set version = version + 1 where cart_id = new.cart_id returning version into new.version;
                return new;
            end $$",
        )
        .await;
    let cart = world.carts(1).await[0];
    let mut holder = world.pool.begin().await.expect("a transaction");
    sqlx::query("select from carts for update").execute(&mut *holder).await.expect("the lock");
    let mut waiter = world.connection().await;
    let waiting = tokio::spawn(async move { append(&mut waiter, cart, "{}").await });
    let drawn = "select last_value from cart_events_numbers where is_called";
    while sqlx::query_scalar::<_, i64>(drawn).fetch_optional(&world.pool).await.expect("a sequence").is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(append(&mut holder, cart, "{}").await, 1);
    holder.commit().await.expect("a commit");
    assert_eq!(waiting.await.expect("the writer"), 2);
    let source = world.started(&Position::ORIGIN).await;
    let order: Vec<_> = versions(&next(&source).await.changes).iter().map(|version| version.version).collect();
    assert_eq!(order, [2, 1]);
}
