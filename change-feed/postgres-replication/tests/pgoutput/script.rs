//! What a server sends for the steps of a script.

use std::path::Path;

use chrono::{DateTime, Utc};
use postgres_replication::Lsn;
use postgres_replication::pgoutput::Message;
use test_support::PgoutputSession;

use crate::pgoutput::corpus;
use crate::pgoutput::sketch::Sketcher;
use crate::pgoutput::steps::{STEPS, Step, TABLES};

/// The folder that this test writes what it sees into, instead of nowhere. See the corpus's README.
const WRITE_CORPUS: &str = "WRITE_PGOUTPUT_CORPUS";

/// Does the step, and gives what was sent for it.
async fn take(server: &mut PgoutputSession, step: &Step) -> Vec<Vec<u8>> {
    let from_afar = step.name == "origin";
    if from_afar {
        enter_origin(server).await;
    }
    server.execute(&format!("begin; {}; commit", step.sql)).await;
    if from_afar {
        leave_origin(server).await;
    }
    server.changes(step.binary).await
}

/// The next transactions say that they come from another server.
async fn enter_origin(server: &mut PgoutputSession) {
    let origin = format!("upstream_{}", server.name());
    server.execute(&format!("select pg_replication_origin_create('{origin}')")).await;
    server.execute(&format!("select pg_replication_origin_session_setup('{origin}')")).await;
}

async fn leave_origin(server: &mut PgoutputSession) {
    let origin = format!("upstream_{}", server.name());
    server.execute("select pg_replication_origin_session_reset()").await;
    server.execute(&format!("select pg_replication_origin_drop('{origin}')")).await;
}

/// PostgreSQL 14 also sends transactions in which nothing that is published has changed.
fn without_empty_transactions(messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for message in messages {
        if message.starts_with(b"C") && kept.last().is_some_and(|last| last.starts_with(b"B")) {
            kept.pop();
        } else {
            kept.push(message);
        }
    }
    kept
}

#[tokio::test]
async fn what_a_server_sends_is_decoded_as_what_was_done() {
    let mut server = PgoutputSession::new(TABLES).await;
    let folder = std::env::var(WRITE_CORPUS).ok();
    let (version,): (i32,) = server.row("select current_setting('server_version_num')::int / 10000").await;
    let mut sketcher = Sketcher::default();
    let mut sent = Vec::new();
    let mut differences = Vec::new();
    for step in STEPS {
        let messages = without_empty_transactions(take(&mut server, step).await);
        let mut sketches = Vec::new();
        for bytes in &messages {
            let message = Message::decode(bytes).unwrap_or_else(|error| panic!("{}: {error}", step.name));
            sketches.push(sketcher.sketch(&message));
        }
        if sketches != step.sent {
            differences.push(format!("{}:\n{}", step.name, sketches.join("\n")));
        }
        sent.extend(messages.into_iter().map(|message| (step.name, message)));
    }
    assert!(differences.is_empty(), "sent was otherwise\n{}", differences.join("\n\n"));
    server.end().await;
    if let Some(folder) = folder {
        corpus::write(&Path::new(&folder).join(format!("postgres_{version}")), &sent);
    }
}

#[tokio::test]
async fn times_and_places_are_those_of_the_server() {
    let mut server = PgoutputSession::new(TABLES).await;
    let step = &STEPS[0];
    let (before,): (DateTime<Utc>,) = server.row("select clock_timestamp()").await;
    let messages = take(&mut server, step).await;
    let now = "select clock_timestamp(), pg_current_wal_lsn()::text";
    let (after, end): (DateTime<Utc>, String) = server.row(now).await;
    let end: Lsn = end.parse().expect("an LSN");

    let Ok(Message::Begin(begin)) = Message::decode(&messages[0]) else { panic!("no begin") };
    let Ok(Message::Commit(commit)) = Message::decode(&messages[3]) else { panic!("no commit") };
    let committed_at = begin.committed_at.to_utc().expect("a date");
    assert!(before <= committed_at && committed_at <= after, "{before} {committed_at} {after}");
    assert_eq!(begin.committed_at, commit.committed_at);
    assert_eq!(begin.final_lsn, commit.commit_lsn);
    assert!(commit.commit_lsn < commit.end_lsn && commit.end_lsn <= end, "{commit:?} {end}");
}
