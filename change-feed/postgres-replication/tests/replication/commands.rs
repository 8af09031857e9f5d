//! Replication commands and plain queries.

use std::time::Duration;

use postgres_replication::Lsn;
use postgres_replication::{NewSlot, ReplicationConnection, ReplicationError, SlotSnapshot, StartOptions};

use test_support::execute;

use crate::replication::database::{Database, PUBLICATION};

#[tokio::test]
async fn a_connection_says_which_server_and_database_it_is_to() {
    let mut database = Database::new().await;
    let mut connection = database.connect().await;
    let system = connection.identify_system().await.expect("an answer");
    assert_eq!(Some(system.identifier), database.text("SELECT system_identifier::text FROM pg_control_system()").await);
    assert_eq!(system.database, database.name);
    assert!(system.timeline >= 1 && system.log_end > Lsn::INVALID);
    let version = connection.query("SHOW server_version_num").await.expect("an answer");
    let version: u32 = version.get(0, "server_version_num").expect("a version").parse().expect("a number");
    assert_eq!(connection.server_major(), version / 10_000);
    connection.close().await;
    database.drop().await;
}

#[tokio::test]
async fn plain_queries_give_text_and_null_and_a_refused_one_does_no_harm() {
    let database = Database::new().await;
    let mut connection = database.connect().await;
    let rows = connection.query("SELECT 1 AS a, NULL AS b UNION ALL SELECT 2, 'x' ORDER BY a").await.expect("rows");
    assert_eq!(rows.len(), 2);
    assert_eq!((rows.get(0, "a"), rows.get(0, "b"), rows.get(1, "b")), (Some("1"), None, Some("x")));
    assert_eq!((rows.get(2, "a"), rows.get(0, "c")), (None, None));
    let error = connection.query("SELECT no_such_column").await.expect_err("no such column");
    assert_eq!(error.sqlstate(), Some("42703"));
    assert_eq!(connection.query("SELECT 3 AS a").await.expect("rows").get(0, "a"), Some("3"));
    connection.close().await;
    database.drop().await;
}

#[tokio::test]
async fn values_are_written_the_same_whatever_the_server_prefers() {
    let mut database = Database::new().await;
    let settings = "SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Tokyo'; SET bytea_output = 'escape'; \
                    SET extra_float_digits = 0; SET intervalstyle = 'sql_standard'";
    for setting in settings.split("; ") {
        database.execute(&format!("ALTER DATABASE {} {setting}", database.name)).await;
    }
    let mut connection = database.connect().await;
    let rows = connection
        .query(
            "SELECT '2026-02-01 03:04:05+00'::timestamptz AS t, '\\x01'::bytea AS b, 0.1::float4 + 0.2::float4 AS f, \
             '1 day 2 hours'::interval AS i",
        )
        .await
        .expect("rows");
    assert_eq!(rows.get(0, "t"), Some("2026-02-01 03:04:05+00"));
    assert_eq!(rows.get(0, "b"), Some("\\x01"));
    assert_eq!(rows.get(0, "f"), Some("0.3"));
    assert_eq!(rows.get(0, "i"), Some("1 day 02:00:00"));
    connection.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_slot_is_made_once_and_dropped_once() {
    let database = Database::new().await;
    let mut connection = database.connect().await;
    let slot = NewSlot::new(&database.slot);
    let created = connection.create_slot(&slot).await.expect("a slot");
    assert_eq!((created.name.as_str(), created.snapshot), (database.slot.as_str(), None));
    assert!(created.consistent_point > Lsn::INVALID);
    let error = connection.create_slot(&slot).await.expect_err("it is there");
    assert!(matches!(error, ReplicationError::SlotExists(_)), "{error:?}");
    connection.drop_slot(&database.slot).await.expect("it is dropped");
    let error = connection.drop_slot(&database.slot).await.expect_err("it is gone");
    assert!(matches!(error, ReplicationError::SlotMissing(_)), "{error:?}");
    assert_eq!(error.sqlstate(), Some("42704"));
    connection.close().await;
    database.drop().await;
}

#[tokio::test]
async fn an_exported_snapshot_shows_what_was_there_before_the_slot() {
    let mut database = Database::new().await;
    database.commit(0..3).await;
    let mut connection = database.connect().await;
    let slot = NewSlot::new(&database.slot).snapshot(SlotSnapshot::Export);
    let snapshot = connection.create_slot(&slot).await.expect("a slot").snapshot.expect("a snapshot");
    database.commit(3..5).await;
    execute(&mut database.sql, "BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    execute(&mut database.sql, &format!("SET TRANSACTION SNAPSHOT '{snapshot}'")).await;
    assert_eq!(database.text("SELECT count(*)::text FROM notes").await.as_deref(), Some("3"));
    execute(&mut database.sql, "COMMIT").await;
    connection.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_snapshot_can_be_used_by_the_transaction_that_makes_the_slot() {
    let mut database = Database::new().await;
    database.commit(0..3).await;
    let mut connection = database.connect().await;
    connection.query("BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ").await.expect("a transaction");
    let slot = NewSlot::new(&database.slot).temporary(true).snapshot(SlotSnapshot::Use);
    connection.create_slot(&slot).await.expect("a slot");
    database.commit(3..5).await;
    let rows = connection.query("SELECT count(*) AS n FROM notes").await.expect("rows");
    assert_eq!(rows.get(0, "n"), Some("3"));
    connection.query("COMMIT").await.expect("the end of it");
    connection.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_slot_that_cannot_be_made_in_time_is_not_left_behind() {
    let mut database = Database::new().await;
    execute(&mut database.sql, "BEGIN").await;
    database.commit(0..1).await;
    let mut connection = database.connect().await;
    let slot = NewSlot::new(&database.slot).wait_limit(Duration::from_millis(300));
    let error = connection.create_slot(&slot).await.expect_err("a transaction is open");
    assert!(error.is_transient(), "{error:?}");
    execute(&mut database.sql, "COMMIT").await;
    connection.close().await;
    let slots = "SELECT count(*)::text FROM pg_replication_slots WHERE database = current_database()";
    assert_eq!(database.text(slots).await.as_deref(), Some("0"));
    database.drop().await;
}

#[tokio::test]
async fn a_query_that_was_abandoned_leaves_the_connection_unusable_and_says_so() {
    let database = Database::new().await;
    let mut connection = database.connect().await;
    let abandoned = tokio::time::timeout(Duration::from_millis(50), connection.query("SELECT pg_sleep(60)")).await;
    assert!(abandoned.is_err());
    let error = connection.query("SELECT 1").await.expect_err("its answer would be the other's");
    assert!(error.is_transient(), "{error:?}");
    connection.close().await;
    database.drop().await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_ends_the_query_here_and_there() {
    let mut database = Database::new().await;
    let options = database.options().answer_limit(Duration::from_millis(300)).application_name("impatient");
    let mut connection = ReplicationConnection::connect(&options).await.expect("a connection");
    let error = connection.query("SELECT pg_sleep(600)").await.expect_err("it takes too long");
    assert!(error.is_transient(), "{error:?}");
    let sleeping =
        "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'impatient' AND state = 'active'";
    while database.text(sleeping).await.as_deref() != Some("0") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    connection.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_slot_in_use_is_told_from_a_missing_one() {
    let database = Database::with_slot().await;
    let stream = database.stream().await;
    let error = database.stream_after(Lsn::INVALID).await.expect_err("the slot is in use");
    assert!(matches!(error, ReplicationError::SlotInUse(_)), "{error:?}");
    assert_eq!(error.sqlstate(), Some("55006"));
    let error = database
        .connect()
        .await
        .start("no_such_slot", Lsn::INVALID, &StartOptions::new([PUBLICATION]))
        .await
        .expect_err("there is none");
    assert!(matches!(error, ReplicationError::SlotMissing(_)), "{error:?}");
    let mut connection = database.connect().await;
    let error = connection.drop_slot(&database.slot).await.expect_err("the slot is in use");
    assert!(matches!(error, ReplicationError::SlotInUse(_)), "{error:?}");
    stream.close().await.expect("the stream ends");
    connection.drop_slot_when_free(&database.slot).await.expect("it is free");
    connection.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_slot_of_another_database_and_one_of_another_kind_are_refused() {
    let database = Database::with_slot().await;
    let mut other = Database::new().await;
    let options = StartOptions::new([PUBLICATION]);
    let error = other.connect().await.start(&database.slot, Lsn::INVALID, &options).await.expect_err("another's");
    assert!(matches!(error, ReplicationError::Prerequisite(_)), "{error:?}");
    other.execute(&format!("SELECT pg_create_physical_replication_slot('{}')", other.slot)).await;
    let error = other.stream_after(Lsn::INVALID).await.expect_err("a physical slot");
    assert!(matches!(error, ReplicationError::Prerequisite(_)), "{error:?}");
    other.drop().await;
    database.drop().await;
}

#[tokio::test]
async fn a_missing_database_is_said() {
    let database = Database::new().await;
    let url = format!("{}_not", database.url());
    let error = ReplicationConnection::connect(&url.parse().expect("a URL")).await.expect_err("no such database");
    assert!(matches!(error, ReplicationError::Prerequisite(_)), "{error:?}");
    assert_eq!(error.sqlstate(), Some("3D000"));
    database.drop().await;
}

#[tokio::test]
async fn nobody_at_the_address_is_a_trouble_that_may_pass() {
    for url in [
        "postgres://u:hidden@127.0.0.1:1/d",
        "postgres://u:hidden@no-such-host.invalid/d",
        "postgres:///d?host=/no/such",
    ] {
        let error = ReplicationConnection::connect(&url.parse().expect("a URL")).await.expect_err(url);
        assert!(error.is_transient(), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hidden"));
    }
}

#[tokio::test]
async fn a_slot_that_survives_a_fail_over_is_made_where_the_server_knows_such() {
    let mut database = Database::new().await;
    let mut connection = database.connect().await;
    let release = connection.server_major();
    let made = connection.create_slot(&NewSlot::new(&database.slot).failover(true)).await;
    if release >= 17 {
        made.expect("a slot");
        let failover = format!("SELECT failover::text FROM pg_replication_slots WHERE slot_name = '{}'", database.slot);
        assert_eq!(database.text(&failover).await.as_deref(), Some("true"));
    } else {
        assert!(matches!(made.expect_err("unknown there"), ReplicationError::Unusable(_)));
    }
    connection.close().await;
    database.drop().await;
}
