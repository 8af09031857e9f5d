//! The same program on PostgreSQL and Kafka.

use change_feed::consumer::Admission;
use sqlx::Executor as _;
use tokio::net::{TcpListener, TcpStream};

use crate::api::path;
use crate::live_stream::LiveStream;
use crate::place::{Place, required};

/// Nobody listens there.
const NOBODY: &str = "127.0.0.1:9";

#[tokio::test]
async fn on_postgresql_and_kafka_it_does_the_same() {
    let place = Place::new().await;
    let program = place.start().serving().await;
    program.line("0 events published").await;
    let said = program.said().join("\n");
    assert!(said.contains("PostgreSQL, database storefront_"), "{said}");
    assert!(said.contains(&format!("Kafka, at {}", required("KAFKA_BROKERS"))), "{said}");
    let api = program.api().await;
    let order = api.create().await;
    let order = api.add(&order, "milk").await.done(201);
    LiveStream::open(&api, None).await.through(&order).await;
    assert!(place.verdict().await.is_clean());

    let records = place.records().await;
    assert_eq!(records.len(), 7, "five of the example, and two");
    let types: Vec<&str> = records.iter().map(|record| record.event.event_type()).collect();
    assert!(types.contains(&"order.scheduled.v1"), "{types:?}");
    assert!(records.iter().all(|record| record.admission == Admission::New));
    assert!(records.iter().all(|record| record.event.transaction().is_some()), "PostgreSQL names its transactions");
    let partitions = change_feed::kafka::KafkaReader::builder(&required("KAFKA_BROKERS"), place.topic.as_str());
    assert_eq!(partitions.open().await.expect("the topic").offsets().len(), 12);
    let ended = program.terminated().await;
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    assert!(ended.warned.is_empty(), "{ended:#?}");
}

#[tokio::test]
async fn a_restart_publishes_nothing_again_and_goes_on() {
    let place = Place::new().await;
    let first = place.start().args(&["--no-demo"]).serving().await;
    let order = first.api().await.create().await;
    first.api().await.feed_is("relaying").await;
    assert_eq!(first.terminated().await.code(), Some(0));
    let second = place.start().args(&["--no-demo"]).serving().await;
    let api = second.api().await;
    let order = api.cancel(&order).await.done(200);
    LiveStream::open(&api, None).await.through(&order).await;
    let verdict = place.verdict().await;
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(place.records().await.len(), 2);
}

#[tokio::test]
async fn postgresql_works_with_the_development_broker() {
    let place = Place::new().await;
    let program = place.start_with("").serving().await;
    program.line("0 events published").await;
    let said = program.said().join("\n");
    assert!(said.contains("PostgreSQL") && said.contains("development broker"), "{said}");
    assert_eq!(program.terminated().await.code(), Some(0));
}

#[tokio::test]
async fn orders_go_on_while_the_broker_is_away_and_the_backlog_follows_in_order() {
    let place = Place::new().await;
    // The address of a broker that comes later: it leads to the real one once somebody listens there.
    let reserved = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = reserved.local_addr().expect("an address");
    drop(reserved);
    let program = place.start_with(&address.to_string()).args(&["--no-demo"]).serving().await;
    program.warning("feed: interrupted; orders go on").await;
    let api = program.api().await;
    api.feed_is("retrying").await;
    let mut order = api.create().await;
    for _ in 0..5 {
        order = api.add(&order, "milk").await.done(201);
    }
    tokio::spawn(lead_to(TcpListener::bind(address).await.expect("still free"), required("KAFKA_BROKERS")));
    program.line("feed: it is back").await;
    let events = LiveStream::open(&api, None).await.through(&order).await;
    let versions = events.iter().filter(|event| event.data["order_id"] == order["order_id"]);
    let versions: Vec<_> = versions.map(|event| event.data["version"].as_u64().expect("a version")).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
    let verdict = place.verdict().await;
    assert!(verdict.is_clean(), "{verdict:?}");
}

/// Passes every connection on.
async fn lead_to(listener: TcpListener, brokers: String) {
    let broker = brokers.split(',').next().expect("an address").to_owned();
    while let Ok((mut client, _)) = listener.accept().await {
        let broker = broker.clone();
        tokio::spawn(async move {
            let mut server = TcpStream::connect(broker).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}

#[tokio::test]
async fn without_a_broker_the_example_is_played_all_the_same_and_the_end_is_in_order() {
    let place = Place::new().await;
    let program = place.start_with(NOBODY).serving().await;
    let line = program.line("0 events published").await;
    assert!(line.contains("refused"), "{line}");
    let said = program.said().join("\n");
    assert!(said.contains("its event waits until the broker takes it"), "{said}");
    let ended = program.terminated().await;
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
}

#[tokio::test]
async fn a_topic_that_cannot_be_made_is_reported_and_orders_go_on() {
    let place = Place::new().await;
    let first = place.start().args(&["--no-demo"]).serving().await;
    first.api().await.feed_is("relaying").await;
    assert_eq!(first.terminated().await.code(), Some(0));
    // Kafka refuses a name that differs from another one only by a dot for an underscore.
    let mut other = Place::new().await;
    other.topic = place.topic.replace('.', "_");
    let program = other.start().args(&["--no-demo"]).serving().await;
    program.warning("*** THE FEED CAN'T RUN").await;
    let why = program.warning("why: ").await;
    assert!(why.contains(&other.topic), "{why}");
    let api = program.api().await;
    let order = api.create().await;
    api.cancel(&order).await.done(200);
    let health = api.feed_is("failed").await;
    assert_eq!(health["status"], "ok");
    assert_eq!(program.terminated().await.code(), Some(3));
}

#[tokio::test]
async fn a_feed_of_another_database_fails_closed_and_orders_go_on() {
    let place = Place::new().await;
    let first = place.start().serving().await;
    first.line("0 events published").await;
    assert_eq!(first.terminated().await.code(), Some(0));
    let before = place.records().await.len();

    // A database that was not the one whose events are in the topic, under the same name of a feed.
    let mut copy = Place::new().await;
    (copy.topic, copy.feed) = (place.topic.clone(), place.feed.clone());
    let program = copy.start().args(&["--no-demo"]).serving().await;
    program.warning("*** THE FEED HAS FAILED CLOSED").await;
    program.warning("remedy: ").await;
    let api = program.api().await;
    let order = api.create().await;
    let health = api.feed_is("closed").await;
    assert_eq!(health["status"], "ok");
    assert!(health["feed"]["words"].as_str().is_some_and(|words| words.contains("orders go on")), "{health:#}");
    assert_eq!(api.get(&path(&order)).await.done(200), order);
    let ended = program.terminated().await;
    assert_eq!(ended.code(), Some(3), "{ended:#?}");
    assert_eq!(place.records().await.len(), before, "nothing of it was published");
}

#[tokio::test]
async fn a_database_that_refuses_every_change_is_not_healthy_until_it_accepts_them_again() {
    let place = Place::new().await;
    let program = place.start().args(&["--no-demo"]).serving().await;
    let api = program.api().await;
    let order = api.create().await;
    let mut connection = place.connection().await;
    let name = place.database.get_database().expect("a name").to_owned();
    // As a disk without room does to a new row, and to nothing else.
    let refuse = "create function no_room() returns trigger language plpgsql as $$
        begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$;
        create trigger no_room before insert on orders for each row execute function no_room()";
    connection.execute(refuse).await.expect("the tables' owner may");
    let body = serde_json::json!({ "customer_id": uuid::Uuid::now_v7(), "currency": "EUR" });
    let answer = api.send("POST", "/orders", body).await;
    assert!(answer.status.is_server_error(), "{answer:?}");
    let health = api.get("/healthz").await.refused(503, "unavailable", "can't be read or changed");
    assert_eq!(health["store"]["reads"], "ok", "{health:#}");
    assert_eq!(api.get(&path(&order)).await.done(200), order);
    connection.execute("drop trigger no_room on orders").await.expect("the tables' owner may");
    assert_eq!(api.is_healthy().await["store"]["writes"], "ok");
    api.create().await;

    // A server that became read-only refuses the change of an order that isn't there, too.
    let read_only = format!("alter database {name} set default_transaction_read_only = on");
    connection.execute(sqlx::AssertSqlSafe(read_only)).await.expect("the database's owner may");
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    connection.execute(end).await.expect("the same role");
    let deadline = tokio::time::Instant::now() + crate::program::PATIENCE;
    while api.get("/healthz").await.status != 503 {
        assert!(tokio::time::Instant::now() < deadline, "a read-only database is healthy");
    }
}
