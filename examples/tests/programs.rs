//! Each example program does what its head says.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Runs an example that cargo has built beside this test.
fn run(name: &str, environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program(name));
    command.env_remove("DATABASE_URL").env_remove("KAFKA_BROKERS").envs(environment.iter().copied());
    command.output().expect("an example starts")
}

fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a test knows where it is");
    let profile = this.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    profile.join("examples").join(name)
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn hello_feed_prints_what_committed_as_one_line_of_json() {
    let text = stdout(&run("hello_feed", &[]));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [line] = &*lines else { panic!("one event is one line: {text}") };
    assert_eq!(line["topic"], "greetings");
    assert_eq!(line["key"], "7");
    assert_eq!(line["headers"]["ce_type"], "greeting.said.v1");
    assert_eq!(line["headers"]["feed_version"], "1");
    assert_eq!(line["payload"], "hello, world");
}

#[test]
fn own_tables_refuses_each_attempt_by_a_named_rule_and_keeps_the_history() {
    let text = stdout(&run("own_tables", &[]));
    let expected = [
        "a line without a step: refused by invoice_lines_changes_inside_a_step",
        "a step without an event: refused by the foreign key from a version to its event",
        "a paid invoice made a draft again: refused by invoices_is_final",
        "an event nobody asked for: refused by invoice_events_at_present_version",
        "invoice 1 version 1: invoice.created.v1",
        "invoice 1 version 2: invoice.line_added.v1",
        "invoice 2 version 1: invoice.created.v1",
        "invoice 2 version 2: invoice.line_added.v1",
        "invoice 2 version 3: invoice.paid.v1",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn custom_publisher_delivers_in_order_after_a_busy_server() {
    let text = stdout(&run("custom_publisher", &[]));
    let expected = [
        "503 Service Unavailable",
        "503 Service Unavailable",
        r#"200 order-1 version 1: {"quantity":1}"#,
        r#"200 order-1 version 2: {"quantity":2}"#,
        r#"200 order-1 version 3: {"quantity":3}"#,
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn two_devices_accepts_nothing_after_a_cancellation_on_sqlite() {
    judge_races(&stdout(&run("two_devices", &[])));
}

#[test]
fn two_devices_accepts_nothing_after_a_cancellation_on_postgresql() {
    let url = std::env::var("DATABASE_URL")
        .expect("DATABASE_URL: run scripts/test, or scripts/services up and eval \"$(scripts/services env)\"");
    let database = Database::create(&url);
    judge_races(&stdout(&run("two_devices", &[("DATABASE_URL", &database.url)])));
}

#[test]
fn logical_decoding_prints_each_change_of_a_table_and_leaves_nothing_behind() {
    let url = std::env::var("ADMIN_DATABASE_URL")
        .expect("ADMIN_DATABASE_URL: run scripts/test, or scripts/services up and eval \"$(scripts/services env)\"");
    let database = Database::create(&url);
    execute(&database.url, "create table notes (id int primary key, text text)");
    let mut child = Command::new(program("logical_decoding"))
        .arg("public.notes")
        .env("DATABASE_URL", &database.url)
        .stdout(Stdio::piped())
        .spawn()
        .expect("an example starts");
    wait_for_a_slot(&database.url, 1);
    execute(&database.url, "insert into notes values (1, 'hello'); delete from notes");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut line = || -> Value {
        let text = lines.next().expect("a line").expect("text");
        serde_json::from_str(&text).expect("JSON")
    };
    let (inserted, deleted) = (line(), line());
    assert_eq!((&inserted["topic"], &inserted["key"]), (&"db.public.notes".into(), &"1".into()));
    assert_eq!(inserted["payload"], serde_json::json!({ "id": 1, "text": "hello" }));
    assert_eq!((&deleted["key"], &deleted["payload"]), (&"1".into(), &Value::Null));
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(interrupted.success());
    assert!(child.wait().expect("it ends").success());
    wait_for_a_slot(&database.url, 0);
}

/// "1000 races: B accepted before …, R refused, A accepted after it"
fn judge_races(text: &str) {
    let numbers: Vec<u32> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let &[races, before, refused, after] = &*numbers else { panic!("four numbers: {text}") };
    assert_eq!((races, before + refused, after), (1000, 1000, 0), "{text}");
}

/// A database of a test's own, dropped with it.
struct Database {
    url: String,
    name: String,
    server: String,
}

impl Database {
    fn create(server: &str) -> Self {
        let name = format!("programs_{}", uuid::Uuid::now_v7().simple());
        execute(server, &format!("create database {name}"));
        let (base, _) = server.rsplit_once('/').expect("a URL with a database");
        Self { url: format!("{base}/{name}"), name, server: server.to_owned() }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        execute(&self.server, &format!("drop database if exists {} with (force)", self.name));
    }
}

/// Waits until the server has this number of slots of the example.
fn wait_for_a_slot(server: &str, wanted: i64) {
    use sqlx::Connection as _;
    let count = "select count(*) from pg_replication_slots where slot_name = 'logical_decoding' and confirmed_flush_lsn is not null";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = sqlx::PgConnection::connect(server).await.expect("the server answers");
        let began = Instant::now();
        while sqlx::query_scalar::<_, i64>(count).fetch_one(&mut connection).await.expect("an answer") != wanted {
            assert!(began.elapsed() < Duration::from_secs(60), "{wanted} slots are awaited");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

fn execute(server: &str, sql: &str) {
    use sqlx::Connection as _;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = sqlx::PgConnection::connect(server).await.expect("the server answers");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.expect("an owner may");
    });
}
