//! The drain by SQL.

use change_feed::source::logical::Lsn;
use change_feed::source::logical::peek::SlotPeek;
use change_feed::source::logical::replication::{Frame, ReplicationError, StartOptions, XLogData};
use futures::FutureExt as _;

use crate::database::{Database, PUBLICATION, Read};

async fn rest(peek: &mut SlotPeek) -> Vec<XLogData> {
    let mut messages = Vec::new();
    while let Some(message) = peek.next().await.expect("a message") {
        messages.push(message);
    }
    messages
}

fn read(messages: &[XLogData]) -> Read {
    let mut read = Read::default();
    messages.iter().for_each(|message| read.take(message));
    read
}

#[tokio::test]
async fn the_same_comes_by_sql_as_by_the_stream() {
    let mut database = Database::with_slot().await;
    database.commit(0..3).await;
    database.execute("UPDATE notes SET body = 'it''s ' || chr(9) || chr(10) || '\\ changed' WHERE id = 1").await;
    database.execute("DELETE FROM notes WHERE id = 2").await;
    database.execute("TRUNCATE notes").await;
    database.commit(3..4).await;
    let mut peek = database.peek().await;
    peek.peek(1_000).await.expect("a peek");
    let by_sql = rest(&mut peek).await;
    peek.close().await;

    let mut stream = database.stream().await;
    let mut by_stream = Vec::new();
    while by_stream.len() < by_sql.len() {
        if let Frame::Data(message) = stream.next().await.expect("a frame") {
            by_stream.push(message);
        }
    }
    stream.close().await.expect("the stream ends");
    let data = |messages: &[XLogData]| Vec::from_iter(messages.iter().map(|message| message.data.clone()));
    assert_eq!(data(&by_sql), data(&by_stream));
    // The stream tells no place of what only describes a table.
    let placed: Vec<_> =
        by_stream.iter().zip(&by_sql).filter(|(streamed, _)| streamed.wal_start > Lsn::INVALID).collect();
    assert!(placed.len() > 10 && placed.iter().all(|(streamed, by_sql)| streamed == by_sql));
    assert_eq!(read(&by_sql).ids, [0, 1, 2, 3]);
    database.drop().await;
}

#[tokio::test]
async fn a_peek_ends_with_a_transaction_and_the_slot_moves_only_when_it_is_told() {
    let mut database = Database::with_slot().await;
    for transaction in 0..5 {
        database.commit(transaction * 10..transaction * 10 + 10).await;
    }
    let before = database.confirmed().await;
    let mut peek = database.peek().await;
    peek.peek(15).await.expect("a peek");
    let first = read(&rest(&mut peek).await);
    assert_eq!(first.ids, Vec::from_iter(0..20), "whole transactions, at least as much as was asked for");
    assert_eq!(database.confirmed().await, before);

    peek.peek(15).await.expect("a peek");
    assert_eq!(read(&rest(&mut peek).await).ids, first.ids, "nothing was confirmed");
    let reached = peek.advance(first.commits[1]).await.expect("the slot moves");
    assert_eq!(reached, first.commits[1]);
    assert_eq!(database.confirmed().await, reached);

    peek.peek(1_000).await.expect("a peek");
    let last = read(&rest(&mut peek).await);
    assert_eq!(last.ids, Vec::from_iter(20..50));
    peek.advance(*last.commits.last().expect("commits")).await.expect("the slot moves");
    peek.peek(1_000).await.expect("a peek");
    assert!(rest(&mut peek).await.is_empty());
    let error = peek.advance(before).await.expect_err("back");
    assert!(matches!(error, ReplicationError::Prerequisite(_)), "{error:?}");
    peek.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_drain_by_sql_is_taken_over_by_the_stream_and_back() {
    let mut database = Database::with_slot().await;
    let mut ids = Vec::new();
    for round in 0..3 {
        database.commit(round * 4..round * 4 + 2).await;
        let mut peek = database.peek().await;
        peek.peek(1).await.expect("a peek");
        let by_sql = read(&rest(&mut peek).await);
        peek.advance(by_sql.commits[0]).await.expect("the slot moves");
        peek.close().await;
        ids.extend(by_sql.ids);

        database.commit(round * 4 + 2..round * 4 + 4).await;
        let mut stream = database.stream_after(by_sql.commits[0]).await.expect("a stream");
        let streamed = Read::transactions(&mut stream, 1).await;
        stream.confirmer().confirm(streamed.commits[0]);
        stream.close().await.expect("the stream ends");
        ids.extend(streamed.ids);
    }
    assert_eq!(ids, Vec::from_iter(0..12));
    database.drop().await;
}

#[tokio::test]
async fn the_slot_is_free_while_what_was_peeked_is_read() {
    let mut database = Database::with_slot().await;
    database.execute("INSERT INTO notes SELECT i, repeat('long', 250) FROM generate_series(1, 50000) i").await;
    let mut peek = database.peek().await;
    peek.peek(1_000_000).await.expect("a peek");
    let first = peek.next().await.expect("a message").expect("there is one");
    assert_eq!(first.data.first(), Some(&b'B'));
    assert_eq!(database.slot_process().await, None);
    assert_eq!(read(&rest(&mut peek).await).ids.len(), 50_000);
    peek.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_nothing() {
    let mut database = Database::with_slot().await;
    database.commit(0..5_000).await;
    let mut peek = database.peek().await;
    peek.peek(1_000_000).await.expect("a peek");
    let mut taken = Vec::new();
    loop {
        match peek.next().now_or_never() {
            Some(Ok(Some(message))) => taken.push(message),
            Some(Ok(None)) => break,
            Some(Err(error)) => panic!("{error:?}"),
            None => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
        }
    }
    assert_eq!(read(&taken).ids, Vec::from_iter(0..5_000));
    peek.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_peek_that_is_not_read_to_its_end_stands_in_the_way_and_closing_ends_it() {
    let mut database = Database::with_slot().await;
    database.commit(0..100_000).await;
    let mut peek = database.peek().await;
    peek.peek(1_000_000).await.expect("a peek");
    assert!(peek.peek(1).await.expect_err("the first is not read").is_transient());
    assert!(peek.advance(Lsn::new(1)).await.expect_err("the first is not read").is_transient());
    peek.close().await;
    assert_eq!(database.slot_process().await, None);
    database.drop().await;
}

#[tokio::test]
async fn what_the_server_refuses_is_typed_and_the_connection_goes_on() {
    let mut database = Database::new().await;
    let mut peek = database.peek().await;
    peek.peek(1).await.expect("a question");
    let error = peek.next().await.expect_err("no slot");
    assert!(matches!(error, ReplicationError::SlotMissing(_)), "{error:?}");
    let error = peek.advance(Lsn::new(1)).await.expect_err("no slot");
    assert!(matches!(error, ReplicationError::SlotMissing(_)), "{error:?}");

    database.create_slot().await;
    let stream = database.stream().await;
    peek.peek(1).await.expect("a question");
    let error = peek.next().await.expect_err("the slot is in use");
    assert!(matches!(error, ReplicationError::SlotInUse(_)), "{error:?}");
    stream.close().await.expect("the stream ends");

    database.commit(0..1).await;
    peek.peek(1).await.expect("a peek");
    assert_eq!(read(&rest(&mut peek).await).ids, [0]);
    peek.close().await;
    database.drop().await;
}

#[tokio::test]
async fn values_and_names_are_the_same_whatever_the_session_prefers() {
    let mut database = Database::with_slot().await;
    let publication = "it's \"quoted\", \\ and more";
    let identifier = publication.replace('"', "\"\"");
    database.execute("CREATE TABLE times (at timestamptz PRIMARY KEY, bytes bytea)").await;
    database.execute(&format!("CREATE PUBLICATION \"{identifier}\" FOR TABLE times")).await;
    for setting in ["timezone = 'Asia/Tokyo'", "datestyle = 'SQL, DMY'", "standard_conforming_strings = off"] {
        database.execute(&format!("ALTER DATABASE {} SET {setting}", database.name)).await;
    }
    database.execute("INSERT INTO times VALUES ('2026-02-01 03:04:05+00', decode('01', 'hex'))").await;
    let options = StartOptions::new([PUBLICATION, publication]);
    let mut peek = SlotPeek::connect(&database.options(), &database.slot, &options).await.expect("a connection");
    peek.peek(1_000).await.expect("a peek");
    let messages = rest(&mut peek).await;
    let insert = messages.iter().find(|message| message.data.first() == Some(&b'I')).expect("an insert");
    let text = String::from_utf8_lossy(&insert.data);
    assert!(text.contains("2026-02-01 03:04:05+00") && text.contains("\\x01"), "{text}");
    peek.close().await;

    let connection = database.connect().await;
    let mut stream = connection.start(&database.slot, Lsn::INVALID, &options).await.expect("a stream");
    let streamed = loop {
        match stream.next().await.expect("a frame") {
            Frame::Data(message) if message.data.first() == Some(&b'I') => break message,
            _ => {}
        }
    };
    assert_eq!(streamed.data, insert.data);
    stream.close().await.expect("the stream ends");
    database.drop().await;
}
