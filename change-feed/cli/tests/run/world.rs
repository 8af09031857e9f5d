//! A database of a test's own with an outbox and a table, and the command that runs a feed of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use change_feed::outbox::{Event, Guard, KeyType};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};
use tempfile::TempDir;
use uuid::Uuid;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) pool: PgPool,
    pub(crate) url: String,
    /// Of the feed, the database and the topics.
    pub(crate) name: String,
    pub(crate) folder: TempDir,
    guard: Guard,
}

/// A record of a topic, with its headers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) key: String,
    /// `None` is a tombstone.
    pub(crate) value: Option<Value>,
    pub(crate) headers: BTreeMap<String, String>,
}

pub(crate) fn required(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test, or eval \"$(scripts/services env)\""))
}

impl World {
    pub(crate) async fn new() -> Self {
        let server: PgConnectOptions = required("ADMIN_DATABASE_URL").parse().expect("the URL of a server");
        let name = format!("cli_{}", Uuid::now_v7().simple());
        let mut connection = server.connect().await.expect("the server answers");
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("a new database");
        let options = server.database(&name);
        let url = options.to_url_lossy().to_string();
        let pool = PgPool::connect_with(options).await.expect("the new database");
        let tables = "create table greetings (id bigint primary key, version bigint not null);
            create table people (id bigint primary key, name text, paid numeric(9,2))";
        pool.execute(tables).await.expect("new tables");
        let guard = Guard::new("greetings").key_type(KeyType::BigInt);
        guard.install(&mut *pool.acquire().await.expect("a connection")).await.expect("a new outbox");
        Self { pool, url, name, folder: TempDir::new().expect("a folder"), guard }
    }

    /// The outbox, as the command line names it.
    pub(crate) fn outbox(&self) -> String {
        format!("public.{}", self.guard.outbox_table().table())
    }

    pub(crate) async fn run(&self, script: &str) {
        self.pool.execute(sqlx::raw_sql(AssertSqlSafe(script.to_owned()))).await.expect(script);
    }

    /// New greetings, each with its event, in one transaction.
    pub(crate) async fn greet(&self, ids: std::ops::Range<i64>) {
        let mut tx = self.pool.begin().await.expect("a transaction");
        for id in ids {
            let insert = sqlx::query("insert into greetings values ($1, 1)").bind(id);
            insert.execute(&mut *tx).await.expect("a greeting");
            let payload = serde_json::json!({ "id": id });
            let event = Event::new("said", id, 1, &payload);
            self.guard.append(&mut *tx, event).await.expect("its event");
        }
        tx.commit().await.expect("a commit");
    }

    /// The command, to run this world's feed.
    pub(crate) fn feed(&self, arguments: &[&str]) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_change-feed"));
        command.args(["run", "--feed", &self.name]).args(arguments);
        command.env("DATABASE_URL", &self.url).env("KAFKA_BROKERS", required("KAFKA_BROKERS"));
        command.env("RUST_LOG", "info").current_dir(self.folder.path());
        Program(command)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("records.ndjson")
    }

    /// The records of the file that a checkpoint follows.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.file()).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let trusted = lines.iter().rposition(|line| line.get("checkpoint").is_some()).unwrap_or_default();
        lines.into_iter().take(trusted).filter(|line| line.get("topic").is_some()).collect()
    }

    /// Waits for so many lines.
    pub(crate) async fn lines_at_least(&self, count: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let lines = self.lines();
            if lines.len() >= count {
                return lines;
            }
            assert!(began.elapsed() < PATIENCE, "{count} lines are awaited, {lines:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Reads a topic with `read_committed` until so many records have come.
    pub(crate) async fn records(&self, topic: &str, count: usize) -> Vec<Record> {
        let topic = topic.to_owned();
        let read = tokio::task::spawn_blocking(move || read(&topic, count));
        read.await.expect("the reader ends")
    }

    /// Drops what outlives a database on a server: its slot.
    pub(crate) async fn clean_up(self) {
        let drop = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1";
        let dropped = sqlx::query(drop).bind(&self.name).execute(&self.pool);
        dropped.await.expect("nobody reads the slot any more");
    }
}

fn read(topic: &str, count: usize) -> Vec<Record> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", required("KAFKA_BROKERS")).set("group.id", topic);
    config.set("isolation.level", "read_committed").set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().expect("valid settings");
    consumer.subscribe(&[topic]).expect("a topic's name");
    let (began, mut records) = (Instant::now(), Vec::new());
    while records.len() < count {
        assert!(began.elapsed() < PATIENCE, "{count} records are awaited, {records:#?}");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else {
            continue;
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        records.push(Record {
            key: message.key().map(text).expect("a key"),
            value: message.payload().map(|bytes| serde_json::from_slice(bytes).expect("JSON")),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(text).unwrap_or_default()))
                .collect(),
        });
    }
    records
}

/// The command, not yet started.
pub(crate) struct Program(Command);

impl Program {
    pub(crate) fn env(mut self, variable: &str, value: &str) -> Self {
        self.0.env(variable, value);
        self
    }

    pub(crate) fn without(mut self, variable: &str) -> Self {
        self.0.env_remove(variable);
        self
    }

    /// Runs it to its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let run = tokio::task::spawn_blocking(move || self.0.stdin(Stdio::null()).output());
        Ended::from(run.await.expect("a thread").expect("the program starts"))
    }

    /// Starts it in the background.
    pub(crate) fn start(mut self) -> Running {
        self.0.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(Some(self.0.spawn().expect("the program starts")))
    }
}

/// The command at work. Dropped, it is killed.
pub(crate) struct Running(Option<std::process::Child>);

impl Running {
    /// Tells it to end, and waits until it has.
    pub(crate) async fn terminated(mut self) -> Ended {
        let child = self.0.take().expect("it runs");
        let pid = i32::try_from(child.id()).expect("a process id");
        terminate(pid);
        let wait = tokio::task::spawn_blocking(move || child.wait_with_output());
        Ended::from(wait.await.expect("a thread").expect("it ends"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn terminate(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("not zero");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the process is ours");
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}
