//! What a source needs from the server, and what it says where that is missing.

use change_feed::source::Start;
use std::time::Duration;

use change_feed::outbox::Outbox;
use change_feed::{Epoch, Position, PostgresPollSource, Source, SourceError};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use uuid::Uuid;

use crate::postgres_poll::steps::next;
use crate::postgres_poll::world::{World, feed, outbox, required, text, versions};

/// A role that may log in and nothing else, and a URL for it.
async fn role(world: &World) -> (String, String) {
    let name = format!("feed_{}", Uuid::now_v7().simple());
    let admin: PgConnectOptions = required("ADMIN_DATABASE_URL").parse().expect("a URL");
    let mut admin = admin.connect().await.expect("an administrator");
    let create = format!("create role {name} login password 'feed'");
    admin.execute(AssertSqlSafe(create)).await.expect("a new role");
    (name.clone(), world.options.clone().username(&name).password("feed").to_url_lossy().to_string())
}

async fn elected(url: &str) -> Result<PostgresPollSource, SourceError> {
    let source = PostgresPollSource::builder(url, &feed()).outbox(outbox()).connect().await?;
    source.elect().await?;
    source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await?;
    Ok(source)
}

async fn refusal(url: &str) -> String {
    let error = elected(url).await.expect_err("it can't work");
    assert!(matches!(error, SourceError::Fatal { .. }), "{}", text(&error));
    text(&error)
}

#[tokio::test]
async fn a_role_with_few_rights_is_told_what_an_owner_runs_and_then_works() {
    let world = World::new().await;
    let carts = world.carts(1).await;
    world.change(&carts).await;
    let (role, url) = role(&world).await;
    let told = refusal(&url).await;
    let (_, script) = told.split_once("run:\n").expect("a script");
    let (script, _) = script.rsplit_once(';').expect("statements");
    world.run(&script.replace("ROLE", &role)).await;
    assert!(refusal(&url).await.contains("SELECT on the outbox"));
    world.run(&format!("grant select on cart_events to {role}")).await;
    let source = elected(&url).await.expect("all it needs");
    assert_eq!(versions(&next(&source).await.changes), world.history().await);
}

#[tokio::test]
async fn a_role_with_a_schema_of_its_own_needs_no_right_on_the_database() {
    let world = World::new().await;
    let carts = world.carts(1).await;
    world.change(&carts).await;
    let (role, url) = role(&world).await;
    let schema = format!("create schema change_feed; grant usage, create on schema change_feed to {role}");
    world.run(&format!("{schema}; grant select on cart_events to {role}")).await;
    let may_create: bool = sqlx::query_scalar("select has_database_privilege($1, current_database(), 'create')")
        .bind(&role)
        .fetch_one(&world.pool)
        .await
        .expect("a right or none");
    assert!(!may_create);
    let source = elected(&url).await.expect("it makes its table in the schema that there is");
    assert_eq!(versions(&next(&source).await.changes), world.history().await);
}

#[tokio::test]
async fn a_policy_that_hides_rows_is_an_error_and_no_loss() {
    let world = World::new().await;
    let carts = world.carts(1).await;
    world.change(&carts).await;
    let (role, url) = role(&world).await;
    world.run("create schema change_feed").await;
    let admin = world.source().await;
    admin.elect().await.expect("it makes its table");
    admin.release().await;
    world
        .run(&format!(
            "grant usage on schema change_feed to {role};
            grant select, insert, update on change_feed.feeds to {role};
            grant select on cart_events to {role};
            alter table cart_events enable row level security;
            create policy none on cart_events using (false)"
        ))
        .await;
    assert!(refusal(&url).await.contains("row-level security"));
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_remedy() {
    let world = World::new().await;
    let missing = PostgresPollSource::builder(&world.url(), &feed()).outbox(Outbox::new("nothing", "cart_id"));
    let told = text(&missing.connect().await.expect_err("no such table"));
    assert!(told.contains("no outbox public.nothing") && told.contains("install it"), "{told}");

    world.run("drop index cart_events_transaction_id").await;
    let told = refusal(&world.url()).await;
    let (_, statement) = told.split_once("run: ").expect("a statement");
    world.run(statement).await;
    elected(&world.url()).await.expect("the remedy works");

    let unnamed = PostgresPollSource::builder(&world.url(), &feed()).connect().await.expect_err("no outbox");
    assert!(text(&unnamed).contains("outbox()"));
    let elsewhere = world.options.clone().database("no_such_database").to_url_lossy().to_string();
    assert!(refusal(&elsewhere).await.contains("a database that exists"));
    assert!(refusal("postgres://user@host:port/database").await.contains("malformed"));
}

#[tokio::test]
async fn a_server_that_is_away_is_tried_again() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let url = format!("postgres://store:secret@{port}/store");
    let error = elected(&url).await.expect_err("nobody listens");
    assert!(matches!(error, SourceError::Transient(_)), "{}", text(&error));
    assert!(!format!("{error:?} {}", text(&error)).contains("secret"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let url = format!("postgres://store@{address}/store");
    let builder = PostgresPollSource::builder(&url, &feed()).outbox(outbox());
    let connecting = builder.answer_timeout(Duration::from_millis(200)).connect();
    let error = connecting.await.expect_err("it only listens");
    assert!(matches!(error, SourceError::Transient(_)) && text(&error).contains("did not answer"), "{}", text(&error));
}

#[tokio::test]
async fn an_event_at_no_time_stops_the_feed_and_is_named() {
    let world = World::new().await;
    let cart = world.carts(1).await[0];
    for time in ["infinity", "-infinity", "290000-01-01", "0044-03-15 BC"] {
        let id = Uuid::now_v7();
        let insert = "insert into cart_events (cart_id, event_id, occurred_at) values ($1, $2, $3::timestamptz)";
        sqlx::query(insert).bind(cart).bind(id).bind(time).execute(&world.pool).await.expect("an event");
        let source = elected(&world.url()).await.expect("it starts");
        let error = source.next().await.expect_err(time);
        assert!(matches!(error, SourceError::Fatal { .. }), "{}", text(&error));
        assert!(text(&error).contains(&id.to_string()), "{}", text(&error));
        world.run("truncate cart_events").await;
    }
}

#[tokio::test]
async fn a_frozen_source_loses_the_election() {
    let world = World::new().await;
    let builder = world.builder();
    // Its runtime stands still between the two calls, as a process that is stopped does.
    let frozen = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let source = runtime.block_on(async {
            let source = builder.connect().await.expect("a server");
            source.elect().await.expect("nobody else is elected");
            source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.expect("the origin");
            source
        });
        (runtime, source)
    });
    let (runtime, source) = frozen.await.expect("a source");
    let standby = world.source().await;
    let elected =
        tokio::time::timeout(crate::postgres_poll::world::PATIENCE, standby.elect()).await.expect("takes over");
    elected.expect("the lock is free");
    let woken = tokio::task::spawn_blocking(move || {
        let lost = runtime.block_on(source.next());
        drop(source);
        drop(runtime);
        lost
    });
    let lost = woken.await.expect("it wakes up");
    assert!(matches!(lost, Err(SourceError::Transient(_))), "{lost:?}");
}
