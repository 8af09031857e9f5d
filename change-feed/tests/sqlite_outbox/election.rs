//! Who captures, and what is stored.

use std::time::Duration;

use change_feed::source::Start;
use change_feed::{Epoch, Mismatch, Position, Source, SourceError, SqliteOutboxSource};
use sqlx::sqlite::{SqliteJournalMode, SqlitePool};

use crate::sqlite_outbox::world::{PATIENCE, World, checkpoint, end, feed, guard, next, options, text, versions};

#[tokio::test]
async fn one_source_is_elected_and_the_next_takes_over_when_it_is_released_or_dropped() {
    let world = World::new().await;
    let first = world.started(&Position::ORIGIN).await;
    let second = world.source().await;
    assert!(tokio::time::timeout(Duration::from_millis(500), second.elect()).await.is_err(), "both are elected");
    first.release().await;
    let lost = first.next().await.expect_err("it gave the election up");
    assert!(matches!(lost, SourceError::Transient(_)), "{lost:?}");
    tokio::time::timeout(PATIENCE, second.elect()).await.expect("at once").expect("a free lock");
    let third = world.source().await;
    drop(second);
    tokio::time::timeout(PATIENCE, third.elect()).await.expect("at once").expect("a free lock");
}

#[tokio::test]
async fn an_acknowledgement_is_found_at_the_next_election_and_never_moves_backwards() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    let identity = source.elect().await.expect("it is elected").identity;
    world.change(&["a"]).await;
    let first = checkpoint(identity.clone(), Epoch::FIRST, end(&next(&source).await));
    world.change(&["a"]).await;
    let second = checkpoint(identity.clone(), Epoch::FIRST, end(&next(&source).await));
    let next_epoch = checkpoint(identity, Epoch::new(2), first.position.clone());
    for (acknowledged, stored) in
        [(&first, &first), (&second, &second), (&first, &second), (&next_epoch, &next_epoch), (&second, &next_epoch)]
    {
        source.acknowledge(acknowledged).await.expect("it is elected");
        assert_eq!(source.elect().await.expect("it is elected").checkpoint.as_ref(), Some(stored));
    }
    source.release().await;
    source.acknowledge(&second).await.expect_err("it is not elected");
    let elected = world.source().await.elect().await.expect("a free lock");
    assert_eq!(elected.checkpoint, Some(next_epoch));
}

#[tokio::test]
async fn the_identity_tells_files_apart_and_is_the_same_at_every_election() {
    let (one, other) = (World::new().await, World::new().await);
    let first = one.source().await.elect().await.expect("elected").identity;
    let again = one.source().await.elect().await.expect("elected").identity;
    let different = other.source().await.elect().await.expect("elected").identity;
    assert_eq!(first, again);
    assert_eq!((&*first.kind, &*first.captures), ("sqlite", "cart_events"));
    assert_ne!(first.system, different.system);
}

/// A copy of the database as a backup has it.
async fn back_up(world: &World) -> std::path::PathBuf {
    let copy = world.path.with_extension("backup");
    sqlx::query("vacuum into ?1").bind(copy.to_str()).execute(&world.pool).await.expect("a backup");
    copy
}

#[tokio::test]
async fn an_older_copy_in_the_place_of_the_file_is_noticed_and_fails_closed() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    world.change(&["a"]).await;
    next(&source).await;
    let backup = back_up(&world).await;
    world.change(&["a"]).await;
    let position = end(&next(&source).await);
    let restored = |backup| {
        std::fs::rename(backup, &world.path).expect("the restore");
        for beside in ["-wal", "-shm"] {
            let mut path = world.path.clone().into_os_string();
            path.push(beside);
            std::fs::remove_file(path).expect("the log of the old file");
        }
    };
    restored(backup);
    let lost = tokio::time::timeout(PATIENCE, source.next()).await.expect("it is noticed").expect_err("another file");
    assert!(matches!(lost, SourceError::Transient(_)), "{lost:?}");
    source.elect().await.expect("the restored file");
    let closed = source.start(&Start::after(&position, Epoch::FIRST)).await.expect_err("an older state");
    assert!(matches!(closed, SourceError::Closed(Mismatch::SourceBehind { .. })), "{}", text(&closed));

    // It grows past the position, with another event there.
    let pool = SqlitePool::connect(&world.url()).await.expect("the restored file");
    let mut connection = pool.acquire().await.expect("a connection");
    for _ in 0..2 {
        crate::sqlite_outbox::world::change(&mut connection, &["a"], "{}").await;
    }
    let closed = source.start(&Start::after(&position, Epoch::FIRST)).await.expect_err("another history");
    assert!(matches!(closed, SourceError::Closed(Mismatch::SourceBehind { .. })), "{}", text(&closed));
    source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.expect("a new feed can start");
    assert_eq!(versions(&next(&source).await.changes).len(), 3);
}

#[tokio::test]
async fn a_position_of_another_kind_of_source_fails_closed() {
    let world = World::new().await;
    let source = world.source().await;
    source.elect().await.expect("elected");
    let closed = source
        .start(&Start::after(&Position::new('p', 0, 1), Epoch::FIRST))
        .await
        .expect_err("a position of PostgreSQL");
    assert!(matches!(closed, SourceError::Closed(Mismatch::Differs { .. })), "{}", text(&closed));
}

#[tokio::test]
async fn what_can_not_be_captured_is_refused_with_a_remedy() {
    let world = World::in_mode(SqliteJournalMode::Delete).await;
    let refused = |url: String, table: &'static str| async move {
        let outbox = change_feed::outbox::Outbox::new(table, "cart_id");
        let error = SqliteOutboxSource::builder(&url, &feed()).outbox(outbox).connect().await.expect_err(table);
        assert!(matches!(error, SourceError::Fatal { .. }), "{}", text(&error));
        text(&error)
    };
    assert!(refused(world.url(), "no_such_table").await.contains("install it"));
    assert!(refused(world.url(), "carts").await.contains("AUTOINCREMENT"));
    assert!(refused("sqlite::memory:".to_owned(), "cart_events").await.contains("in a file"));
    assert!(refused(format!("{}.missing", world.url()), "cart_events").await.contains("create the database"));
    let unnamed = SqliteOutboxSource::builder(&world.url(), &feed()).connect().await.expect_err("no outbox");
    assert!(text(&unnamed).contains("outbox()"));
    std::fs::write(world.path.with_extension("txt"), "not a database, but long enough to look").expect("a file");
    let url = format!("sqlite:{}", world.path.with_extension("txt").display());
    assert!(refused(url, "cart_events").await.contains("restore"));
}

#[tokio::test]
async fn a_full_disk_passes_for_the_feed_and_for_the_application_whose_pool_it_uses() {
    let world = World::new().await;
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_with(options(&world.path)).await;
    let pool = pool.expect("the application's pool");
    let limit = async |pages: i64| {
        let limit = sqlx::AssertSqlSafe(format!("pragma max_page_count = {pages}"));
        sqlx::query_scalar::<_, i64>(limit).fetch_one(&pool).await.expect("a limit");
    };
    let builder = SqliteOutboxSource::on_pool(pool.clone(), &feed()).outbox(guard().outbox_table());
    let source = builder.connect().await.expect("a source");
    // No free page is left, and the feed's tables are still to be made.
    limit(1).await;
    let refused = source.elect().await.expect_err("the disk is full");
    assert!(matches!(refused, SourceError::Transient(_)) && text(&refused).contains("full"), "{}", text(&refused));
    limit(1_000_000).await;
    let transaction = pool.begin_with("begin immediate").await.expect("the application's next transaction");
    transaction.commit().await.expect("a commit");
    source.elect().await.expect("it is elected once there is room");
}
