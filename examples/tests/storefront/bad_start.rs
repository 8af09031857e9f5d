//! Starts that can't succeed: one clear error, no panic, no password, and a non-zero exit.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::place::{Place, required};
use crate::program::{Ended, Program, Start};

const PASSWORD: &str = "s3cret-pass";

fn folder() -> TempDir {
    TempDir::new().expect("a folder for temporary files")
}

/// It ended with this code, and one error that has these words.
#[track_caller]
fn assert_error(ended: &Ended, code: i32, words: &[&str]) {
    let text = ended.text();
    assert_eq!(ended.code(), Some(code), "{text}");
    let warned = ended.warned.join("\n");
    for word in words {
        assert!(warned.contains(word), "{word:?} is not in: {warned}");
    }
    assert!(!text.contains(PASSWORD), "the password is shown: {text}");
    assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{text}");
}

#[tokio::test]
async fn wrong_usage_is_reported_before_anything_is_started() {
    let folder = folder();
    for (variable, value, words) in [
        ("DATABASE_URL", "mysql://shop:s3cret-pass@db/orders", "mysql"),
        ("DATABASE_URL", "shop.db?s3cret-pass", "not a URL"),
        ("DATABASE_URL", "postgres://shop:s3cret-pass@db:port/orders", "malformed"),
        ("DATABASE_URL", "postgres://shop:s3cret-pass@[db/orders", "malformed"),
        ("DATABASE_URL", "postgres://shop:s3cret-pass@db/orders?sslmode=maybe", "malformed"),
        ("DATABASE_URL", "sqlite::memory:", "file"),
        ("KAFKA_BROKERS", "localhost", "HOST:PORT"),
        ("KAFKA_BROKERS", "kafka://localhost:9092", "HOST:PORT"),
        ("LISTEN", "3000", "HOST:PORT"),
        ("ORDERS_TOPIC", "orders events", "characters"),
        ("FEED", "Orders!", "lower-case"),
    ] {
        assert_error(&Start::within(folder.path()).env(variable, value).ended().await, 2, &[words]);
    }
    for (args, words) in [
        (vec!["--listen", "localhost:99999"], "HOST:PORT"),
        (vec!["--topic", ""], "--topic"),
        (vec!["--topic", "storefront.positions"], "position"),
        (vec!["--feed", &"a".repeat(49)], "48"),
        (vec!["--source", "logical"], "needs PostgreSQL"),
        (vec!["--source", "magic"], "poll"),
        (vec!["--demo"], "--demo"),
        (vec!["orders"], "orders"),
    ] {
        assert_error(&Start::within(folder.path()).args(&args).ended().await, 2, &[words]);
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "something was made");
}

#[tokio::test]
async fn a_port_in_use_is_reported_before_the_database_is_touched() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let ended = Start::within(folder.path()).args(&["--listen", &address]).ended().await;
    assert_error(&ended, 1, &[&address, "in use", "--listen", "nothing was changed"]);
    assert!(!folder.path().join("storefront.db").exists());
}

#[tokio::test]
async fn a_sqlite_file_that_cannot_be_used_is_reported() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("folder.db")).expect("a folder");
    std::fs::write(folder.path().join("text.db"), "this is not a database, ".repeat(500)).expect("a file");
    for url in ["sqlite:missing/shop.db", "sqlite:folder.db", "sqlite:text.db"] {
        let ended = Start::within(folder.path()).env("DATABASE_URL", url).ended().await;
        let file = url.trim_start_matches("sqlite:");
        assert_error(&ended, 1, &[file, "nothing was changed", "DATABASE_URL"]);
    }
}

#[tokio::test]
async fn a_read_only_sqlite_file_is_reported() {
    let folder = folder();
    let made = Start::within(folder.path()).args(&["--no-demo"]).serving().await;
    assert_eq!(made.terminated().await.code(), Some(0));
    // root may write a file that is marked as read-only.
    let ended = Start::within(folder.path()).env("DATABASE_URL", "sqlite:storefront.db?mode=ro").ended().await;
    assert_error(&ended, 1, &["storefront.db", "read", "DATABASE_URL"]);
}

#[tokio::test]
async fn a_database_of_another_version_is_reported() {
    let folder = folder();
    let made = Start::within(folder.path()).args(&["--no-demo"]).serving().await;
    assert_eq!(made.terminated().await.code(), Some(0));
    let file = SqliteConnectOptions::new().filename(folder.path().join("storefront.db"));
    let mut connection = file.connect().await.expect("the file");
    let newer = "insert into order_store_migrations (version) values (99)";
    connection.execute(newer).await.expect("a row");
    sqlx::Connection::close(connection).await.expect("closed");
    let ended = Start::within(folder.path()).ended().await;
    assert_error(&ended, 1, &["version 99", "use a newer program"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_reported_without_the_password() {
    let folder = folder();
    // Port 9 is Discard's, which nobody runs.
    let url = format!("postgres://shop:{PASSWORD}@127.0.0.1:9/orders");
    let ended = Start::within(folder.path()).env("DATABASE_URL", &url).ended().await;
    assert_error(&ended, 1, &["database orders on 127.0.0.1:9 as shop", "start the server", "nothing was changed"]);
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_database_are_reported_without_the_password() {
    let folder = folder();
    let server: sqlx::postgres::PgConnectOptions = required("DATABASE_URL").parse().expect("a URL");
    let wrong = server.clone().password(PASSWORD).to_url_lossy();
    let ended = Start::within(folder.path()).env("DATABASE_URL", wrong.as_str()).ended().await;
    if ended.code() == Some(0) {
        println!("SKIPPED: the server takes any password");
    } else {
        assert_error(&ended, 1, &["DATABASE_URL"]);
    }
    let missing = server.database("no_such_database").to_url_lossy();
    let ended = Start::within(folder.path()).env("DATABASE_URL", missing.as_str()).ended().await;
    assert_error(&ended, 1, &["no_such_database", "nothing was changed"]);
}

#[tokio::test]
async fn a_role_that_may_not_make_the_tables_is_reported() {
    let place = Place::new().await;
    let mut connection = place.connection().await;
    for statement in ["revoke all on schema public from public", "alter schema public owner to pg_database_owner"] {
        connection.execute(statement).await.expect("the database's owner may");
    }
    let role = format!("guest_{}", uuid::Uuid::now_v7().simple());
    let admin: sqlx::postgres::PgConnectOptions = required("ADMIN_DATABASE_URL").parse().expect("a URL");
    let mut administrator = admin.connect().await.expect("the server answers");
    let create = format!("create role {role} login password '{PASSWORD}'");
    administrator.execute(sqlx::AssertSqlSafe(create)).await.expect("a role");
    let url = place.database.clone().username(&role).password(PASSWORD).to_url_lossy();
    let ended = Start::within(place.folder.path()).env("DATABASE_URL", url.as_str()).ended().await;
    let drop = format!("drop role {role}");
    administrator.execute(sqlx::AssertSqlSafe(drop)).await.expect("the role is not in use");
    assert_error(&ended, 1, &[&role, "permission", "nothing was changed"]);
}

#[tokio::test]
async fn a_full_disk_refuses_orders_in_words_and_nothing_is_lost() {
    let folder = folder();
    let Some(program) = on_a_small_disk(folder.path()).await else {
        println!("SKIPPED: a small file system can't be mounted here");
        return;
    };
    let api = program.api().await;
    let mut created = Vec::new();
    let refused = loop {
        let body = serde_json::json!({ "customer_id": uuid::Uuid::now_v7(), "currency": "EUR" });
        let answer = api.send("POST", "/orders", body).await;
        if answer.status != 201 {
            break answer;
        }
        created.push(answer.done(201));
        assert!(created.len() < 100_000, "the disk is never full");
    };
    assert!(refused.retry_after.is_some(), "{refused:?}");
    refused.refused(503, "unavailable", "nothing was changed");
    // There may be room for something smaller than an order: then the store works again, as far as it can be told.
    let health = api.get("/healthz").await;
    assert!(matches!(health.status.as_u16(), 200 | 503), "{health:?}");
    assert_eq!(health.json["store"]["reads"], "ok", "{health:?}");
    for order in created.iter().step_by(1 + created.len() / 50) {
        assert_eq!(api.get(&crate::api::path(order)).await.done(200), *order);
    }
    assert!(!created.is_empty());
    program.terminated().await;
}

/// On a file system of 2 MB, in a name space of the program's own.
async fn on_a_small_disk(folder: &Path) -> Option<Program> {
    std::fs::create_dir(folder.join("disk")).expect("a folder");
    let mount = "mount -t tmpfs -o size=2m none disk";
    let unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"];
    let mut possible = tokio::process::Command::new(unshare[0]);
    possible.args(&unshare[1..]).arg(mount).current_dir(folder);
    if !possible.output().await.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let script = format!("{mount} && cd disk && exec \"$STOREFRONT\" --no-demo");
    Some(Start::by_shell(folder, &script, &unshare).serving().await)
}
