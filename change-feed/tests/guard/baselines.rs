//! The events of adopted rows, from each source to a consumer: baselines, and no gaps.

use change_feed::consumer::{Admission, Progress, ReceivedEvent, Record};
use change_feed::memory::{MemoryBroker, MemoryPublisher};
use change_feed::outbox::{Baseline, Event, Guard, GuardConnection, KeyType};
use change_feed::{FeedName, LogicalSource, PostgresPollSource, Relay, Router, Source, SqliteOutboxSource};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use uuid::Uuid;

const TOPIC: &str = "carts";
/// Adopted at version 1, and at version 5.
const YOUNG: i64 = 1;
const OLD: i64 = 5;

const TABLES: &str = "create table carts (id bigint primary key, version bigint not null);
    insert into carts values (1, 1), (5, 5)";

fn guard() -> Guard {
    Guard::new("carts").key_type(KeyType::BigInt)
}

async fn adopt(connection: &mut impl GuardConnection) {
    let adopted = guard().adopt(connection, &Baseline::new("cart.adopted.v1")).await;
    assert_eq!(adopted.expect("adopted"), 2);
}

async fn step(connection: &mut impl GuardConnection, key: i64) {
    let version = guard().begin(connection, key).await.expect("a step");
    let payload = serde_json::json!({});
    guard().append(connection, Event::new("cart.changed.v1", key, version, &payload)).await.expect("its event");
}

/// Publishes until there are four records: two baselines, and the next version of each cart.
async fn admissions(feed: FeedName, source: impl Source) -> Vec<(String, u64, Admission)> {
    let broker = MemoryBroker::new();
    let publisher = MemoryPublisher::transactional(&broker, &feed);
    let relay = Relay::new(feed, source, Router::to_topic(TOPIC), publisher);
    let published = broker.clone();
    let until = async move {
        published.wait_for_records(TOPIC, 4).await;
    };
    relay.run(until).await.expect("no fault");
    let mut progress = Progress::new();
    let records = broker.records(TOPIC);
    let admit = |record: &change_feed::memory::MemoryRecord| {
        let envelope = &record.envelope;
        let headers: Vec<_> =
            envelope.headers().into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
        let record = Record {
            topic: TOPIC.into(),
            partition: record.partition,
            offset: record.offset,
            key: Some(envelope.key().as_bytes()),
            headers: headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
            payload: Some(&envelope.payload()),
        };
        let event = ReceivedEvent::parse(&record).expect("an event");
        (event.key().to_owned(), event.version(), progress.admit(&event))
    };
    let mut admissions: Vec<_> = records.iter().map(admit).collect();
    admissions.sort_by_key(|(key, version, _)| (key.clone(), *version));
    admissions
}

#[track_caller]
fn assert_baselines(admissions: &[(String, u64, Admission)]) {
    let admitted = |key: &str, version, admission| (key.to_owned(), version, admission);
    let expected = [
        admitted("1", 1, Admission::Baseline),
        admitted("1", 2, Admission::New),
        admitted("5", 5, Admission::Baseline),
        admitted("5", 6, Admission::New),
    ];
    assert_eq!(admissions, expected);
}

async fn postgres() -> (PgConnectOptions, PgConnection, FeedName) {
    let url = std::env::var("ADMIN_DATABASE_URL").expect("ADMIN_DATABASE_URL is set by scripts/services env");
    let server: PgConnectOptions = url.parse().expect("the URL of a server");
    let name = format!("baselines_{}", Uuid::now_v7().simple());
    let mut connection = server.connect().await.expect("the server answers");
    connection.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("a new database");
    let options = server.database(&name);
    let mut connection = options.connect().await.expect("the new database");
    connection.execute(sqlx::raw_sql(TABLES)).await.expect("tables with rows");
    (options, connection, FeedName::new(name).expect("a short name"))
}

async fn write(connection: &mut PgConnection) {
    adopt(connection).await;
    for key in [YOUNG, OLD] {
        let mut transaction = connection.begin().await.expect("a transaction");
        step(&mut *transaction, key).await;
        transaction.commit().await.expect("a commit");
    }
}

#[tokio::test]
async fn adopted_rows_are_baselines_to_a_consumer_of_the_log() {
    let (options, mut connection, feed) = postgres().await;
    // The outbox exists before its rows are adopted, so that the feed reads them from the log.
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(guard().outbox_sql(change_feed::outbox::Dialect::Postgres))))
        .await
        .expect("an outbox");
    let url = options.to_url_lossy().to_string();
    let source = LogicalSource::builder(&url, &feed).outbox(guard().outbox_table()).create(true);
    let source = source.connect().await.expect("a source");
    write(&mut connection).await;
    assert_baselines(&admissions(feed.clone(), source).await);
    let drop =
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and not active";
    sqlx::query(drop).bind(feed.as_str()).execute(&mut connection).await.expect("the slot is dropped");
}

#[tokio::test]
async fn adopted_rows_are_baselines_to_a_consumer_of_a_poller() {
    let (options, mut connection, feed) = postgres().await;
    write(&mut connection).await;
    let url = options.to_url_lossy().to_string();
    let source = PostgresPollSource::builder(&url, &feed).outbox(guard().outbox_table());
    assert_baselines(&admissions(feed, source.connect().await.expect("a source")).await);
}

#[tokio::test]
async fn adopted_rows_are_baselines_to_a_consumer_of_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("carts.db");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut connection: SqliteConnection = options.connect().await.expect("a new file");
    connection.execute(sqlx::raw_sql(TABLES)).await.expect("tables with rows");
    adopt(&mut connection).await;
    for key in [YOUNG, OLD] {
        let mut transaction = connection.begin_with("begin immediate").await.expect("a transaction");
        step(&mut *transaction, key).await;
        transaction.commit().await.expect("a commit");
    }
    let feed = FeedName::new("carts").expect("a name");
    let url = format!("sqlite:{}", file.display());
    let source = SqliteOutboxSource::builder(&url, &feed).outbox(guard().outbox_table());
    assert_baselines(&admissions(feed, source.connect().await.expect("a source")).await);
}
