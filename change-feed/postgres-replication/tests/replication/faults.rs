//! Servers that die, freeze and go.

use std::time::Duration;

use postgres_replication::Lsn;
use postgres_replication::{Frame, NewSlot, ReplicationConnection, ReplicationError, ReplicationStream, StartOptions};

use test_support::{Frozen, Instance, PATIENCE};

use crate::replication::database::{Database, PUBLICATION, Read};

/// The error that ends a stream.
async fn end_of(stream: &mut ReplicationStream) -> ReplicationError {
    let ended = async {
        loop {
            if let Err(error) = stream.next().await {
                return error;
            }
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the stream ends in time")
}

#[tokio::test]
async fn a_walsender_that_is_terminated_ends_the_stream_and_a_new_one_goes_on() {
    let mut database = Database::with_slot().await;
    database.commit(0..1).await;
    let mut stream = database.stream().await;
    let read = Read::transactions(&mut stream, 1).await;
    let server = database.slot_process().await.expect("a walsender");
    database.execute(&format!("SELECT pg_terminate_backend({server})")).await;
    let error = end_of(&mut stream).await;
    assert!(error.is_transient(), "{error:?}");
    assert!(stream.next().await.is_err(), "it has ended for good");
    stream.close().await.expect("there is nothing left to end");

    database.wait_until_free().await;
    database.commit(1..2).await;
    let mut stream = database.stream_after(read.commits[0]).await.expect("a stream");
    assert_eq!(Read::transactions(&mut stream, 1).await.ids, [1]);
    stream.close().await.expect("the stream ends");
    database.drop().await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_gives_the_slot_free() {
    let mut database = Database::with_slot().await;
    drop(database.stream().await);
    database.wait_until_free().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_or_ends_or_freezes_is_a_trouble_that_passes() {
    let instance = Instance::start("replication-faults").await;
    let mut database = Database::on(instance.admin_url()).await;
    database.create_slot().await;

    for command in ["kill", "stop"] {
        let mut stream = database.stream().await;
        let confirmer = stream.confirmer();
        // An orderly end waits until we have confirmed what there is.
        let ended = tokio::spawn(async move {
            loop {
                match stream.next().await {
                    Ok(Frame::Keepalive(seen)) => confirmer.confirm(seen.wal_end),
                    Ok(_) => {}
                    Err(error) => return error,
                }
            }
        });
        instance.server(command).await;
        let error = tokio::time::timeout(PATIENCE, ended).await.expect("it ends in time").expect("no panic");
        assert!(error.is_transient(), "{command}: {error:?}");
        let error = ReplicationConnection::connect(&database.options()).await.expect_err("nobody is there");
        assert!(error.is_transient(), "{command}: {error:?}");
        instance.server("start").await;
        database.reconnect().await;
    }

    freezes(&mut database).await;
    database.drop().await;
}

async fn freezes(database: &mut Database) {
    let options = database.options().idle_limit(Duration::from_secs(1)).answer_limit(Duration::from_secs(1));
    let connection = ReplicationConnection::connect(&options).await.expect("a connection");
    let mut stream =
        connection.start(&database.slot, Lsn::INVALID, &StartOptions::new([PUBLICATION])).await.expect("a stream");
    let frozen = Frozen::freeze(&database.slot_process().await.expect("a walsender"));
    let error = end_of(&mut stream).await;
    assert!(error.is_transient(), "{error:?}");
    drop((stream, frozen));
    database.wait_until_free().await;

    let mut connection =
        ReplicationConnection::connect(&options.application_name("frozen")).await.expect("a connection");
    let process = database.text("SELECT pid::text FROM pg_stat_activity WHERE application_name = 'frozen'").await;
    let frozen = Frozen::freeze(&process.expect("a walsender"));
    let error = connection.identify_system().await.expect_err("it can't answer");
    assert!(error.is_transient(), "{error:?}");
    drop(frozen);
    connection.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_lost_its_log_and_a_server_without_logical_log_are_said() {
    let instance = Instance::start("replication-lost").await;
    let mut database = Database::on(instance.admin_url()).await;
    database.create_slot().await;
    for setting in ["max_slot_wal_keep_size = '1MB'", "checkpoint_timeout = '1h'"] {
        database.execute(&format!("ALTER SYSTEM SET {setting}")).await;
    }
    database.execute("SELECT pg_reload_conf()").await;
    let status = format!("SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{}'", database.slot);
    let deadline = std::time::Instant::now() + PATIENCE;
    while database.text(&status).await.as_deref() != Some("lost") {
        database
            .execute("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000000)) FROM generate_series(1, 20)")
            .await;
        database.execute("SELECT pg_switch_wal()").await;
        database.execute("CHECKPOINT").await;
        assert!(std::time::Instant::now() < deadline, "the slot still has its log");
    }
    let error = database.stream_after(Lsn::INVALID).await.expect_err("its log is gone");
    assert!(matches!(error, ReplicationError::Prerequisite(_)), "{error:?}");
    let mut connection = database.connect().await;
    connection.drop_slot(&database.slot).await.expect("it can be dropped");
    connection.close().await;

    database.execute("ALTER SYSTEM SET wal_level = 'replica'").await;
    instance.server("stop").await;
    instance.server("start").await;
    database.reconnect().await;
    let mut connection = database.connect().await;
    let error = connection.create_slot(&NewSlot::new(&database.slot)).await.expect_err("no logical log");
    assert!(matches!(error, ReplicationError::Prerequisite(_)), "{error:?}");
    assert_eq!(error.sqlstate(), Some("55000"), "{error:?}");
    connection.close().await;
    database.drop().await;
}
