//! What passes at the server is tried again, and what does not pass is named.

use std::time::Duration;

use change_feed::source::Start;
use change_feed::{Epoch, LogicalSource, Position, Source, SourceError};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection};
use uuid::Uuid;

use crate::logical::world::required;
use crate::logical::world::{PATIENCE, World, outbox, read, refusal, started, text, version, versions};

impl World {
    /// The feed's role has this setting by default.
    async fn with_role_setting(&self, settings: &[&str]) -> (LogicalSource, String) {
        let role = format!("feed_{}", Uuid::now_v7().simple());
        self.run(&format!("create role {role} login superuser password 'feed'")).await;
        for setting in settings {
            self.run(&format!("alter role {role} set {setting}")).await;
        }
        let url = self.options.clone().username(&role).password("feed").to_url_lossy().to_string();
        let builder = LogicalSource::builder(&url, &self.feed).outbox(outbox()).create(true);
        (started(builder, &Position::ORIGIN).await, role)
    }
}

#[tokio::test]
async fn what_a_role_sets_by_default_does_not_end_the_feed() {
    let world = World::new().await;
    let recent = world.text("select current_setting('server_version_num')").await.as_deref() >= Some("170000");
    let mut settings = vec![
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'serializable'",
        "lock_timeout = '1ms'",
        "statement_timeout = '1s'",
        "idle_in_transaction_session_timeout = '1ms'",
    ];
    if recent {
        settings.push("transaction_timeout = '100ms'");
    }
    let (source, role) = world.with_role_setting(&settings).await;
    world.append("a", 1).await;
    assert_eq!(versions(&read(&source, 1).await), [version("a", 1)]);
    drop(source);
    world.run(&format!("reassign owned by {role} to current_user; drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn an_event_trigger_that_forbids_the_statement_is_named_at_once() {
    let world = World::new().await;
    world
        .run(
            "create function forbid() returns event_trigger language plpgsql as
            $$ begin raise exception 'no publications here'; end $$;
            create event trigger forbids on ddl_command_start when tag in ('CREATE PUBLICATION') execute function forbid()",
        )
        .await;
    let error = world.builder().connect().await.expect_err("it is forbidden");
    assert!(matches!(error, SourceError::Fatal { .. } | SourceError::Closed(_)), "{}", text(&error));
    assert!(text(&error).contains("no publications here"), "{}", text(&error));
}

#[tokio::test]
async fn of_several_hosts_the_one_that_takes_writes_is_used() {
    let world = World::new().await;
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let url = world.url();
    let (credentials, rest) = url.split_once('@').expect("a URL with a role");
    let (host, database) = rest.split_once('/').expect("a URL with a database");
    let (database, query) = database.split_once('?').unwrap_or((database, ""));
    let url = format!("{credentials}@127.0.0.1:{port},{host}/{database}?target_session_attrs=read-write&{query}");
    let source =
        started(LogicalSource::builder(&url, &world.feed).outbox(outbox()).create(true), &Position::ORIGIN).await;
    world.append("a", 1).await;
    assert_eq!(versions(&read(&source, 1).await), [version("a", 1)]);
}

/// A transaction that is open and has written.
async fn open_transaction(world: &World) -> PgConnection {
    let mut open = world.options.connect().await.expect("a connection");
    sqlx::raw_sql("begin; select pg_current_xact_id()").execute(&mut open).await.expect("a transaction");
    open
}

#[tokio::test]
async fn a_slot_that_waits_for_an_open_transaction_is_given_up_with_words_and_leaves_nothing() {
    let world = World::new().await;
    let mut open = open_transaction(&world).await;
    let builder = || world.builder().slot_wait(Duration::from_millis(300));
    let error = builder().connect().await.expect_err("a transaction is open");
    assert!(matches!(error, SourceError::Transient(_)), "{}", text(&error));
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut open).await.expect("a process");
    let told = text(&error);
    assert!(told.contains("transactions stayed open") && told.contains(&format!("process {pid} ")), "{told}");
    world.until(&format!("not exists (select from pg_replication_slots where slot_name = '{}')", world.feed)).await;
    open.execute("rollback").await.expect("it ends");
    // Other tests may have transactions open for a moment.
    started(world.builder(), &Position::ORIGIN).await;
}

#[tokio::test]
async fn a_feed_that_is_stopped_while_its_slot_waits_leaves_nothing_and_begins_again() {
    let world = World::new().await;
    let mut open = open_transaction(&world).await;
    let connecting = tokio::spawn(world.builder().connect());
    let waits = format!("exists (select from pg_replication_slots where slot_name = '{}')", world.feed);
    world.until(&waits).await;
    connecting.abort();
    // The server notices that its client is gone.
    world.until(&format!("not {waits}")).await;
    open.execute("rollback").await.expect("it ends");
    let source = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    assert_eq!(versions(&read(&source, 1).await), [version("a", 1)]);
}

#[tokio::test]
async fn a_slot_that_another_process_left_unfinished_is_never_called_lost() {
    let world = World::new().await;
    let mut open = open_transaction(&world).await;
    // As a process that died without a word: a walsender of the feed's name that nobody reads from.
    let name = format!("change-feed {}", world.feed);
    let mut left = world.options.clone().application_name(&name).connect().await.expect("a connection");
    let slot = world.feed.to_string();
    let making = tokio::spawn(async move {
        let make = AssertSqlSafe(format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
        sqlx::raw_sql(make).execute(&mut left).await.map(drop)
    });
    world.until(&format!("exists (select from pg_replication_slots where slot_name = '{}')", world.feed)).await;
    let connecting = tokio::spawn(world.builder().connect());
    making.await.expect("it ends").expect_err("the feed has ended it");
    open.execute("rollback").await.expect("it ends");
    let connected = tokio::time::timeout(PATIENCE, connecting).await.expect("the slot is made").expect("no panic");
    let source = connected.expect("the slot is made");
    source.elect().await.expect("nobody else is elected");
    source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.expect("the slot is finished");
}

#[tokio::test]
async fn a_wrong_password_is_no_reason_to_try_again_at_one_address_or_several() {
    let options: PgConnectOptions = required("ADMIN_DATABASE_URL").parse().expect("a URL");
    let wrong = options.password("wrong").to_url_lossy().to_string();
    let world = World::new().await;
    let (credentials, rest) = wrong.split_once('@').expect("a URL with a role");
    for url in [wrong.clone(), format!("{credentials}@127.0.0.1:1,{rest}")] {
        let error =
            LogicalSource::builder(&url, &world.feed).outbox(outbox()).connect().await.expect_err("it is wrong");
        assert!(matches!(error, SourceError::Fatal { .. }), "{}", text(&error));
    }
}

#[tokio::test]
async fn text_that_cannot_be_converted_stops_the_feed_with_the_servers_words() {
    let encoding = "encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'";
    let world = World::with(&required("ADMIN_DATABASE_URL"), encoding).await;
    world.run("create table t (id int primary key, a text)").await;
    let source = started(world.bare().tables(["t"]), &Position::ORIGIN).await;
    world.run("insert into t values (1, convert_from('\\xff'::bytea, 'SQL_ASCII'))").await;
    let error = refusal(&source).await;
    assert!(matches!(error, SourceError::Closed(_)), "{}", text(&error));
    assert!(text(&error).contains("22021"), "{}", text(&error));
}
