//! What a server sends.

use std::path::Path;

use change_feed::source::logical::pgoutput::Message;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::corpus;
use crate::sketch::Sketcher;
use crate::steps::{STEPS, Step, TABLES};

/// The folder that this test writes what it sees into, instead of nowhere. See the corpus's README.
const WRITE_CORPUS: &str = "WRITE_PGOUTPUT_CORPUS";

/// The URL that a test runs with.
fn required(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test, or eval \"$(scripts/services env)\""))
}

/// A database of the test's own, and in it a session with a slot of its own.
struct Server {
    session: PgConnection,
    slot: String,
    origin: String,
}

impl Server {
    /// As an administrator: replication origins are for nobody else.
    async fn new() -> Self {
        let server: PgConnectOptions = required("ADMIN_DATABASE_URL").parse().expect("the URL of a server");
        let id = Uuid::now_v7().simple().to_string();
        let database = format!("pgoutput_{id}");
        let mut connection = server.connect().await.expect("the server answers");
        let create = format!("create database {database} template template0 encoding 'UTF8'");
        connection.execute(AssertSqlSafe(create)).await.expect("a new database");
        let mut session = server.database(&database).disable_statement_logging().connect().await.expect("a session");
        session.execute(sqlx::raw_sql(TABLES)).await.expect("new tables");
        let slot = format!("pgoutput_{id}");
        let origin = format!("upstream_{id}");
        // Temporary: it goes with the session, however the test ends.
        let create = sqlx::query("select pg_create_logical_replication_slot($1, 'pgoutput', true)").bind(&slot);
        create.execute(&mut session).await.expect("a new slot");
        Self { session, slot, origin }
    }

    /// What was sent for a step.
    async fn take(&mut self, step: &Step) -> Vec<Vec<u8>> {
        let from_afar = step.name == "origin";
        if from_afar {
            self.origin("create").await;
            self.origin("session_setup").await;
        }
        let transaction = format!("begin; {}; commit", step.sql);
        self.session.execute(sqlx::raw_sql(AssertSqlSafe(transaction))).await.expect(step.name);
        if from_afar {
            self.session
                .execute("select pg_replication_origin_session_reset()")
                .await
                .expect("a session without origin");
            self.origin("drop").await;
        }
        let changes = "select data from pg_logical_slot_get_binary_changes($1, null, null,
            'proto_version', '1', 'publication_names', 'feed', 'messages', 'true', 'binary', $2)";
        sqlx::query_scalar(changes)
            .bind(&self.slot)
            .bind(step.binary.to_string())
            .fetch_all(&mut self.session)
            .await
            .expect("changes")
    }

    async fn origin(&mut self, action: &str) {
        let call = format!("select pg_replication_origin_{action}('{}')", self.origin);
        self.session.execute(AssertSqlSafe(call)).await.expect(action);
    }

    async fn major_version(&mut self) -> i32 {
        let number: String =
            sqlx::query_scalar("show server_version_num").fetch_one(&mut self.session).await.expect("a version");
        number.parse::<i32>().expect("a number") / 10_000
    }
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
    let mut server = Server::new().await;
    let folder = std::env::var(WRITE_CORPUS).ok();
    let version = server.major_version().await;
    let mut sketcher = Sketcher::default();
    let mut sent = Vec::new();
    let mut differences = Vec::new();
    for step in STEPS {
        let messages = without_empty_transactions(server.take(step).await);
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
    server.session.close().await.expect("an orderly end");
    if let Some(folder) = folder {
        corpus::write(&Path::new(&folder).join(format!("postgres_{version}")), &sent);
    }
}

#[tokio::test]
async fn times_and_places_are_those_of_the_server() {
    let mut server = Server::new().await;
    let step = &STEPS[0];
    let before: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut server.session).await.expect("the time");
    let messages = server.take(step).await;
    let now = "select clock_timestamp(), pg_current_wal_lsn()::text";
    let (after, end): (chrono::DateTime<chrono::Utc>, String) =
        sqlx::query_as(now).fetch_one(&mut server.session).await.expect("the time");
    let end = end.parse().expect("an LSN");

    let Ok(Message::Begin(begin)) = Message::decode(&messages[0]) else { panic!("no begin") };
    let Ok(Message::Commit(commit)) = Message::decode(&messages[3]) else { panic!("no commit") };
    let committed_at = begin.committed_at.to_utc().expect("a date");
    assert!(before <= committed_at && committed_at <= after, "{before} {committed_at} {after}");
    assert_eq!(begin.committed_at, commit.committed_at);
    assert_eq!(begin.final_lsn, commit.commit_lsn);
    assert!(commit.commit_lsn < commit.end_lsn && commit.end_lsn <= end, "{commit:?} {end}");
}
