//! What a source refuses, and what it says then.

use change_feed::outbox::Outbox;
use change_feed::postgres::log::LogicalSourceBuilder;
use change_feed::source::Start;
use change_feed::{Epoch, LogicalSource, Mismatch, Position, Source, SourceError};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use uuid::Uuid;

use crate::logical::world::required;
use crate::logical::world::{World, end, read, refusal, started, text, version, versions};

/// What starting it comes to.
async fn start(builder: LogicalSourceBuilder, after: &Position) -> Result<LogicalSource, SourceError> {
    let source = builder.connect().await?;
    source.elect().await?;
    source.start(&Start::after(after, Epoch::FIRST)).await?;
    Ok(source)
}

/// It fails closed, and says so much.
async fn refused(builder: LogicalSourceBuilder, after: &Position, says: &[&str]) {
    closed(&start(builder, after).await.expect_err("it can't go on"), says);
}

fn closed(error: &SourceError, says: &[&str]) {
    let told = text(error);
    assert!(matches!(error, SourceError::Closed(_)), "{told}");
    for part in says {
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }
}

/// A feed that has published one event: its world and its position.
async fn with_position() -> (World, Position) {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    let position = end(&read(&source, 1).await);
    world.acknowledge(&source, position.clone()).await;
    source.release().await;
    (world, position)
}

impl World {
    async fn drop_slot(&self) {
        self.run(&format!("select pg_drop_replication_slot('{}')", self.feed)).await;
    }

    async fn make_slot(&self, plugin: &str) {
        self.run(&format!("select pg_create_logical_replication_slot('{}', '{plugin}')", self.feed)).await;
    }

    async fn publish(&self, what: &str) {
        self.run(&format!("create publication {} {what}", self.feed)).await;
    }
}

#[tokio::test]
async fn a_slot_that_is_missing_is_not_made_anew_for_a_feed_that_has_a_position() {
    let (world, position) = with_position().await;
    world.drop_slot().await;
    refused(world.builder(), &position, &["is missing", &position.to_string(), "new name"]).await;
    assert_eq!(world.slot("slot_name").await, None);
}

#[tokio::test]
async fn a_slot_that_was_made_anew_is_refused() {
    let (world, position) = with_position().await;
    world.drop_slot().await;
    world.append("lost", 1).await;
    world.make_slot("pgoutput").await;
    refused(world.builder(), &position, &["made anew, or somebody else moved it"]).await;
}

#[tokio::test]
async fn a_slot_that_somebody_moved_past_the_position_is_refused() {
    let (world, position) = with_position().await;
    world.append("lost", 1).await;
    world.run(&format!("select pg_replication_slot_advance('{}', pg_current_wal_lsn())", world.feed)).await;
    refused(world.builder(), &position, &["made anew, or somebody else moved it"]).await;
}

#[tokio::test]
async fn a_slot_of_another_plugin_is_refused() {
    let world = World::new().await;
    world.make_slot("test_decoding").await;
    refused(world.builder(), &Position::ORIGIN, &["of the plug-in test_decoding", "slot of its own"]).await;
    let made = world.text("select count(*)::text from pg_publication").await;
    assert_eq!(made.as_deref(), Some("0"), "nothing is made");
    world.drop_slot().await;
    world.run(&format!("select pg_create_physical_replication_slot('{}')", world.feed)).await;
    refused(world.builder(), &Position::ORIGIN, &["for physical replication"]).await;
    world.drop_slot().await;
}

#[tokio::test]
async fn a_slot_of_another_database_is_refused() {
    let (world, other) = (World::new().await, World::new().await);
    other.make_slot("pgoutput").await;
    refused(world.builder().slot(other.feed.as_str()), &Position::ORIGIN, &["belongs to the database"]).await;
}

#[tokio::test]
async fn a_slot_that_another_program_reads_is_refused_after_a_while_and_named() {
    use postgres_replication::Lsn;
    use postgres_replication::{ReplicationConnection, StartOptions};

    let (world, position) = with_position().await;
    let other = ReplicationConnection::connect(&world.url().parse().expect("a URL")).await.expect("a connection");
    let options = StartOptions::new([world.feed.as_str()]);
    let stream = other.start(world.feed.as_str(), Lsn::INVALID, &options).await.expect("the slot is free");
    let pid = world.slot("active_pid").await.expect("it is read");
    refused(world.builder(), &position, &["in use by the server's process", &pid]).await;
    drop(stream);
}

#[tokio::test]
async fn a_position_past_the_end_of_the_log_is_another_history() {
    let (world, position) = with_position().await;
    let ahead = Position::new('l', position.major() + (1 << 40), 0).with_tail("1");
    let error = start(world.builder(), &ahead).await.expect_err("it can't be");
    assert!(matches!(error, SourceError::Closed(Mismatch::SourceBehind { .. })), "{}", text(&error));
    let elsewhere = Position::new('l', position.major(), 0).with_tail("7");
    let error = start(world.builder(), &elsewhere).await.expect_err("a timeline that never was");
    assert!(
        matches!(error, SourceError::Closed(Mismatch::SourceBehind { .. }) | SourceError::Fatal { .. }),
        "{}",
        text(&error)
    );
    refused(world.builder(), &Position::new('p', 1, 1), &["kind of source"]).await;
}

#[tokio::test]
async fn a_publication_that_is_missing_or_lacks_something_is_refused_with_the_statement_that_mends_it() {
    let world = World::new().await;
    world.run("create table t (id int primary key)").await;
    let bare = || world.builder().tables(["t"]).create(false);
    refused(bare(), &Position::ORIGIN, &["there is no publication", "create publication"]).await;
    world.publish("for table order_events").await;
    refused(bare(), &Position::ORIGIN, &["does not publish public.t", "add table \"public\".\"t\""]).await;
    world
        .run(&format!(
            "alter publication {} add table t; alter publication {0} set (publish = 'insert, delete')",
            world.feed
        ))
        .await;
    refused(bare(), &Position::ORIGIN, &["leaves out", "set (publish"]).await;
    world.run(&format!("alter publication {} set (publish = 'insert, update, delete, truncate')", world.feed)).await;
    refused(bare(), &Position::ORIGIN, &["there is no replication slot", "pg_create_logical_replication_slot"]).await;
    world.make_slot("pgoutput").await;
    start(bare(), &Position::ORIGIN).await.expect("all that was asked for");
}

#[tokio::test]
async fn somebody_elses_publication_is_not_altered() {
    let world = World::new().await;
    world.publish("").await;
    refused(world.builder(), &Position::ORIGIN, &["does not publish public.order_events"]).await;
}

#[tokio::test]
async fn an_outbox_that_is_published_in_part_is_refused() {
    let world = World::new().await;
    let version = world.text("select current_setting('server_version_num')").await.expect("a version");
    if version.as_str() < "150000" {
        // PostgreSQL 14 publishes whole tables only.
        return;
    }
    world.publish("for table order_events where (version > 1)").await;
    refused(world.builder(), &Position::ORIGIN, &["filters the rows of the outbox"]).await;
    world
        .run(&format!(
            "drop publication {0}; create publication {0} for table order_events (sequence, event_id, order_id)",
            world.feed
        ))
        .await;
    refused(world.builder(), &Position::ORIGIN, &["leaves out the column version"]).await;
}

#[tokio::test]
async fn tables_that_cannot_be_captured_are_refused_before_publishing_breaks_their_writers() {
    let world = World::new().await;
    world
        .run(
            "create table keyless (id int);
            create table nothing (id int primary key); alter table nothing replica identity nothing;
            create table whole (id int); alter table whole replica identity full;
            create unlogged table unlogged (id int primary key); create view viewed as select 1 as id",
        )
        .await;
    for (table, says) in [
        ("keyless", "has no key"),
        ("nothing", "replica identity nothing"),
        ("whole", "has no key"),
        ("unlogged", "no ordinary table"),
        ("viewed", "no ordinary table"),
        ("missing", "there is no table public.missing"),
    ] {
        refused(world.bare().tables([table]), &Position::ORIGIN, &[says]).await;
    }
    world.run("update keyless set id = 1; update nothing set id = 1").await;
    let told = text(&world.bare().connect().await.expect_err("nothing is captured"));
    assert!(told.contains("outbox()"), "{told}");
    let told = text(&world.bare().tables([".t"]).connect().await.expect_err("no name"));
    assert!(told.contains("names no table"), "{told}");
    refused(
        world.bare().outbox(Outbox::new("no_outbox", "id")),
        &Position::ORIGIN,
        &["there is no table public.no_outbox"],
    )
    .await;
}

#[tokio::test]
async fn a_role_that_may_not_replicate_or_publish_is_told_what_to_run() {
    let world = World::new().await;
    let role = format!("feed_{}", Uuid::now_v7().simple());
    let mut admin = world.options.connect().await.expect("an administrator");
    admin.execute(AssertSqlSafe(format!("create role {role} login password 'feed'"))).await.expect("a new role");
    let url = world.options.clone().username(&role).password("feed").to_url_lossy().to_string();
    let builder = || LogicalSource::builder(&url, &world.feed).outbox(crate::logical::world::outbox());
    refused(builder(), &Position::ORIGIN, &["may not replicate", &format!("alter role \"{role}\" replication")]).await;

    world.run(&format!("alter role {role} replication; create schema change_feed; grant usage, create on schema change_feed to {role}")).await;
    let owner = "let the tables' owner run: create publication";
    refused(builder().create(true), &Position::ORIGIN, &["may not alter its publication", owner]).await;

    // What a feed's role needs, and no right on the tables.
    world.publish("for table order_events").await;
    world.make_slot("pgoutput").await;
    let source = start(builder(), &Position::ORIGIN).await.expect("all it needs");
    world.append("a", 1).await;
    read(&source, 1).await;
    drop(source);
    world.run(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn what_goes_wrong_while_the_feed_runs_is_noticed() {
    let world = World::new().await;
    world.run("create table t (id int primary key)").await;
    let source = started(world.builder().tables(["t"]), &Position::ORIGIN).await;
    world.run(&format!("alter publication {} drop table t", world.feed)).await;
    let error = refusal(&source).await;
    closed(&error, &["does not publish public.t"]);
}

#[tokio::test]
async fn a_publication_that_is_dropped_and_made_anew_is_noticed_while_the_feed_runs_and_when_it_starts_again() {
    const ANEW: &str = "dropped and made anew";
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    let place = end(&read(&source, 1).await);
    world.acknowledge(&source, place.clone()).await;
    let drop_it = format!("drop publication {}", world.feed);
    world.run(&format!("begin; {drop_it}; create publication {} for table order_events; commit", world.feed)).await;
    closed(&refusal(&source).await, &[ANEW, "start a feed under a new name", "If nothing was"]);
    drop(source);

    let again = world.builder().connect().await.expect("it has all tables");
    let error = again.elect().await.expect_err("it is another publication");
    closed(&error, &[ANEW]);
    // What the remedy says for whoever knows that nothing was written.
    let SourceError::Closed(reason) = &error else { unreachable!("it is closed") };
    let remedy = reason.remedy().to_string();
    world.run(&remedy[remedy.find("update change_feed").expect("a statement")..]).await;
    again.elect().await.expect("it is taken for the feed's own");
    again.start(&Start::after(&place, Epoch::FIRST)).await.expect("the slot has it all");
    world.append("a", 2).await;
    assert_eq!(versions(&read(&again, 1).await), [version("a", 2)]);
    drop(again);

    // The feed itself makes none anew either.
    world.run(&drop_it).await;
    let error = world.builder().connect().await.expect_err("it is gone");
    closed(&error, &["which the feed has read, was dropped", "start a feed under a new name"]);
}

#[tokio::test]
async fn a_server_that_is_away_is_tried_again_and_its_password_is_not_shown() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let world = World::new().await;
    let builder = LogicalSource::builder(&format!("postgres://store:secret@{port}/store"), &world.feed);
    let error = builder.outbox(crate::logical::world::outbox()).connect().await.expect_err("nobody listens");
    assert!(matches!(error, SourceError::Transient(_)), "{}", text(&error));
    assert!(!format!("{error:?} {}", text(&error)).contains("secret"));
    let options: PgConnectOptions = required("ADMIN_DATABASE_URL").parse().expect("a URL");
    let wrong = options.password("wrong").to_url_lossy().to_string();
    let error = LogicalSource::builder(&wrong, &world.feed).outbox(crate::logical::world::outbox()).connect().await;
    assert!(matches!(error, Err(SourceError::Fatal { .. })));
}
