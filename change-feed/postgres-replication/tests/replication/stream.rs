//! Streaming.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use postgres_replication::Lsn;
use postgres_replication::{Frame, ReplicationConnection, ReplicationError, StartOptions};

use test_support::PATIENCE;

use crate::replication::database::{Database, PUBLICATION, Read};

#[tokio::test]
async fn what_commits_comes_in_order_and_a_new_stream_goes_on_after_the_place_it_is_given() {
    let mut database = Database::with_slot().await;
    database.commit(0..2).await;
    database.commit(2..5).await;
    database.commit(5..6).await;
    let mut stream = database.stream().await;
    let read = Read::transactions(&mut stream, 3).await;
    assert_eq!(read.ids, [0, 1, 2, 3, 4, 5]);
    assert!(read.commits.is_sorted());
    stream.close().await.expect("the stream ends");

    let mut stream = database.stream_after(read.commits[0]).await.expect("a stream");
    assert_eq!(Read::transactions(&mut stream, 2).await.ids, [2, 3, 4, 5]);
    stream.close().await.expect("the stream ends");
    database.drop().await;
}

#[tokio::test]
async fn frames_that_are_here_already_are_taken_without_waiting() {
    let mut database = Database::with_slot().await;
    database.commit(0..100).await;
    let end = database.text("SELECT pg_current_wal_lsn()::text").await.expect("a place");
    let mut stream = database.stream().await;
    let all_is_sent = format!(
        "SELECT (SELECT 'yes' FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid \
         WHERE slot_name = '{}' AND sent_lsn >= '{end}')",
        database.slot
    );
    let deadline = Instant::now() + PATIENCE;
    while database.text(&all_is_sent).await.is_none() {
        assert!(Instant::now() < deadline, "not all is sent");
    }
    let mut read = Read::default();
    let mut taken_at_once = 0;
    while read.commits.is_empty() {
        let mut frame = Some(stream.next().await.expect("a frame"));
        while let Some(taken) = frame {
            if let Frame::Data(message) = taken {
                read.take(&message);
            }
            frame = stream.next_buffered().expect("a frame");
            taken_at_once += usize::from(frame.is_some());
        }
    }
    assert_eq!(read.ids, Vec::from_iter(0..100));
    assert!(taken_at_once > 0, "each frame came alone");
    assert!(stream.next_buffered().expect("nothing").is_none());
    stream.close().await.expect("the stream ends");
    database.drop().await;
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_nothing() {
    let mut database = Database::with_slot().await;
    database.commit(0..2_000).await;
    database.execute("INSERT INTO notes SELECT 2000, repeat('long', 500000)").await;
    let mut stream = database.stream().await;
    let mut read = Read::default();
    let deadline = Instant::now() + PATIENCE;
    while read.commits.len() < 2 {
        // The future is polled once and dropped.
        match stream.next().now_or_never() {
            Some(Ok(Frame::Data(message))) => read.take(&message),
            Some(Ok(Frame::Keepalive(_))) => {}
            Some(Err(error)) => panic!("{error:?}"),
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
        assert!(Instant::now() < deadline, "{} rows came", read.ids.len());
    }
    assert_eq!(read.ids, Vec::from_iter(0..=2_000));
    stream.close().await.expect("the stream ends");
    database.drop().await;
}

#[tokio::test]
async fn rows_of_many_megabytes_come_whole() {
    let mut database = Database::with_slot().await;
    database.execute("INSERT INTO notes SELECT i, repeat(chr(64 + i), 20000000) FROM generate_series(1, 3) i").await;
    database.commit(4..5).await;
    let mut stream = database.stream().await;
    let mut sizes = Vec::new();
    let mut commits = 0;
    while commits < 2 {
        if let Frame::Data(message) = stream.next().await.expect("a frame") {
            commits += usize::from(message.data.first() == Some(&b'C'));
            if message.data.first() == Some(&b'I') {
                sizes.push(message.data.len());
            }
        }
    }
    assert!(sizes.len() == 4 && sizes[..3].iter().all(|size| *size > 20_000_000), "{sizes:?}");
    stream.close().await.expect("the stream ends");
    database.drop().await;
}

#[tokio::test]
async fn messages_come_only_when_they_are_wanted() {
    let mut database = Database::with_slot().await;
    database.execute("SELECT pg_logical_emit_message(true, 'prefix', 'content')").await;
    database.commit(0..1).await;
    for wanted in [false, true] {
        let options = StartOptions::new([PUBLICATION]).messages(wanted);
        let connection = database.connect().await;
        let mut stream = connection.start(&database.slot, Lsn::INVALID, &options).await.expect("a stream");
        let (mut ids, mut messages) = (0, 0);
        while ids == 0 {
            if let Frame::Data(message) = stream.next().await.expect("a frame") {
                ids += usize::from(message.data.first() == Some(&b'I'));
                messages += usize::from(message.data.first() == Some(&b'M'));
            }
        }
        assert_eq!(messages, usize::from(wanted));
        stream.close().await.expect("the stream ends");
    }
    database.drop().await;
}

#[tokio::test]
async fn what_is_confirmed_reaches_the_slot_and_never_goes_back() {
    let mut database = Database::with_slot().await;
    let before = database.confirmed().await;
    database.commit(0..1).await;
    database.commit(1..2).await;
    let mut stream = database.stream().await;
    let confirmer = stream.confirmer();
    let read = Read::transactions(&mut stream, 2).await;
    assert_eq!(database.confirmed().await, before, "nothing was confirmed yet");
    confirmer.confirm(read.commits[1]);
    confirmer.confirm(read.commits[0]);
    assert_eq!(confirmer.confirmed(), read.commits[1]);
    database.wait_until_confirmed(read.commits[1]).await;
    confirmer.confirm(read.commits[0]);
    stream.close().await.expect("the stream ends");
    assert_eq!(database.confirmed().await, read.commits[1]);

    // A stream that starts further on confirms nothing by that alone.
    database.commit(2..3).await;
    let further = database.log_end().await;
    let stream = database.stream_after(further).await.expect("a stream");
    stream.confirmer().confirm(read.commits[0]);
    stream.close().await.expect("the stream ends");
    assert_eq!(database.confirmed().await, read.commits[1]);
    database.drop().await;
}

#[tokio::test]
async fn a_closed_stream_has_confirmed_and_its_slot_is_free_at_once() {
    let mut database = Database::with_slot().await;
    for round in 0..20 {
        database.commit(round..round + 1).await;
        // The slot is free, or this would fail.
        let mut stream = database.stream().await;
        let read = Read::transactions(&mut stream, 1).await;
        assert_eq!(read.ids, [round]);
        stream.confirmer().confirm(read.commits[0]);
        stream.close().await.expect("the stream ends");
        assert_eq!(database.slot_process().await, None);
        assert_eq!(database.confirmed().await, read.commits[0]);
    }
    database.drop().await;
}

#[tokio::test]
async fn a_stream_can_be_closed_in_the_middle_of_a_large_transaction() {
    let mut database = Database::with_slot().await;
    database.commit(0..500_000).await;
    let mut stream = database.stream().await;
    while !matches!(stream.next().await.expect("a frame"), Frame::Data(message) if message.data.first() == Some(&b'I'))
    {
    }
    stream.close().await.expect("the stream ends");
    assert_eq!(database.slot_process().await, None);
    database.drop().await;
}

#[tokio::test]
async fn an_idle_server_answers_and_lets_the_slot_move_on() {
    let mut database = Database::with_slot().await;
    let options = database.options().idle_limit(Duration::from_millis(500));
    let connection = ReplicationConnection::connect(&options).await.expect("a connection");
    let mut stream =
        connection.start(&database.slot, Lsn::INVALID, &StartOptions::new([PUBLICATION])).await.expect("a stream");
    // What happens elsewhere in the log is not sent, but it is passed.
    database.execute("CREATE TABLE unpublished AS SELECT 1 AS one").await;
    let elsewhere = database.log_end().await;
    let confirmer = stream.confirmer();
    let deadline = Instant::now() + PATIENCE;
    while confirmer.confirmed() < elsewhere {
        match stream.next().await.expect("a sign of life") {
            Frame::Keepalive(keepalive) => confirmer.confirm(keepalive.wal_end),
            Frame::Data(_) => {}
        }
        assert!(Instant::now() < deadline);
    }
    // Far longer than the limit, one sign of life after the other.
    let long = Instant::now() + Duration::from_secs(3);
    while Instant::now() < long {
        stream.next().await.expect("a sign of life");
    }
    stream.close().await.expect("the stream ends");
    assert!(database.confirmed().await >= elsewhere);
    database.drop().await;
}

#[tokio::test]
async fn the_server_hears_of_us_while_nobody_takes_frames() {
    let mut database = Database::with_slot().await;
    let options = database.options().wal_sender_timeout(Duration::from_secs(1));
    let connection = ReplicationConnection::connect(&options).await.expect("a connection");
    let mut stream =
        connection.start(&database.slot, Lsn::INVALID, &StartOptions::new([PUBLICATION])).await.expect("a stream");
    database.commit(0..1).await;
    let first = Read::transactions(&mut stream, 1).await;
    // More than buffers on the way hold, so that the server has to wait for us.
    database.execute("INSERT INTO notes SELECT i, repeat('long', 250) FROM generate_series(1, 50000) i").await;
    let server = database.slot_process().await;
    let confirmer = stream.confirmer();
    tokio::time::sleep(Duration::from_secs(4)).await;
    confirmer.confirm(first.commits[0]);
    database.wait_until_confirmed(first.commits[0]).await;
    assert_eq!(database.slot_process().await, server, "the server has given us up");
    assert_eq!(Read::transactions(&mut stream, 1).await.ids, Vec::from_iter(1..=50_000));
    stream.close().await.expect("the stream ends");
    database.drop().await;
}

#[tokio::test]
async fn the_server_hears_of_us_while_the_runtime_is_blocked() {
    let mut database = Database::with_slot().await;
    let options = database.options().wal_sender_timeout(Duration::from_secs(1));
    let connection = ReplicationConnection::connect(&options).await.expect("a connection");
    let mut stream =
        connection.start(&database.slot, Lsn::INVALID, &StartOptions::new([PUBLICATION])).await.expect("a stream");
    let server = database.slot_process().await;
    // The test's runtime has this one thread.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(database.slot_process().await, server, "the server has given us up");
    database.commit(0..1).await;
    assert_eq!(Read::transactions(&mut stream, 1).await.ids, [0]);
    stream.close().await.expect("the stream ends");
    database.drop().await;
}

#[tokio::test]
async fn a_limit_of_the_role_for_statements_does_not_end_a_stream() {
    let mut database = Database::with_slot().await;
    let url = format!("{}?options=-c%20statement_timeout%3D300%20-c%20idle_session_timeout%3D300", database.url());
    let connection = ReplicationConnection::connect(&url.parse().expect("a URL")).await.expect("a connection");
    let mut stream =
        connection.start(&database.slot, Lsn::INVALID, &StartOptions::new([PUBLICATION])).await.expect("a stream");
    let server = database.slot_process().await;
    for id in 0..3 {
        let waited = tokio::time::timeout(Duration::from_millis(500), async {
            while matches!(stream.next().await.expect("a sign of life"), Frame::Keepalive(_)) {}
        });
        assert!(waited.await.is_err(), "nothing was written");
        database.commit(id..id + 1).await;
        assert_eq!(Read::transactions(&mut stream, 1).await.ids, [id]);
    }
    assert_eq!(database.slot_process().await, server);
    stream.close().await.expect("the stream ends");
    database.drop().await;
}

#[tokio::test]
async fn a_missing_publication_is_told_from_a_missing_slot() {
    let mut database = Database::with_slot().await;
    let connection = database.connect().await;
    let release = connection.server_major();
    let options = StartOptions::new(["no such publication"]);
    let mut stream = connection.start(&database.slot, Lsn::INVALID, &options).await.expect("a stream");
    database.commit(0..1).await;
    let end = database.log_end().await;
    let seen = loop {
        match stream.next().await {
            Ok(Frame::Keepalive(keepalive)) if keepalive.wal_end >= end => break None,
            Ok(_) => {}
            Err(error) => break Some(error),
        }
    };
    match seen {
        Some(error) => assert!(matches!(error, ReplicationError::PublicationMissing(_)), "{error:?}"),
        None => assert!(release >= 18, "PostgreSQL {release} said nothing"),
    }
    drop(stream);
    database.wait_until_free().await;
    database.drop().await;
}

#[tokio::test]
async fn nothing_shows_the_password() {
    let database = Database::with_slot().await;
    let url = database.url();
    let password = url.split_once("//").and_then(|(_, rest)| rest.split(['@', ':']).nth(1)).expect("a password");
    let connection = database.connect().await;
    assert!(!format!("{connection:?}").contains(password));
    let stream =
        connection.start(&database.slot, Lsn::INVALID, &StartOptions::new([PUBLICATION])).await.expect("a stream");
    assert!(!format!("{stream:?}").contains(password));
    stream.close().await.expect("the stream ends");
    database.drop().await;
}

#[tokio::test]
async fn frames_are_taken_without_an_allocation_for_each() {
    let mut database = Database::with_slot().await;
    database.commit(0..20_000).await;
    let mut stream = database.stream().await;
    let (mut frames, mut allocations, mut has_ended) = (0_u64, 0, false);
    let is_commit = |frame: &Frame| matches!(frame, Frame::Data(message) if message.data.first() == Some(&b'C'));
    while !has_ended {
        has_ended = is_commit(&stream.next().await.expect("a frame"));
        let counted = allocation_counter::measure(|| {
            while let Some(frame) = stream.next_buffered().expect("a frame") {
                frames += 1;
                has_ended |= is_commit(&frame);
            }
        });
        allocations += counted.count_total;
    }
    assert!(frames > 10_000 && allocations * 20 < frames, "{allocations} allocations for {frames} frames");
    stream.close().await.expect("the stream ends");
    database.drop().await;
}
