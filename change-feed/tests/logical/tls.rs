//! A source over TLS: rows arrive, each of its connections is encrypted, and the server is trusted exactly as far as the URL
//! says.

use change_feed::source::Start;
use change_feed::{Content, Epoch, FeedName, LogicalSource, Position, Source, SourceError};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use test_support::{Authority, Instance, PATIENCE, execute, until};
use uuid::Uuid;

/// A database of this role, which may replicate and comes in over TLS, with SCRAM.
const ROLE: &str = "encrypted";
const DATABASE: &str = "captured";
const ACCESS: &str = "
    hostssl all encrypted 127.0.0.1/32 scram-sha-256
    host all encrypted 127.0.0.1/32 reject";

#[tokio::test]
async fn a_source_trusts_a_server_exactly_as_far_as_its_url_says() {
    let instance = Instance::start("logical-tls").await;
    let files = tempfile::tempdir().expect("a folder");
    let [ours, others] = ["ours", "others"].map(|name| (Authority::new(name), files.path().join(name)));
    for (authority, file) in [&ours, &others] {
        std::fs::write(file, &authority.certificate).expect("a certificate");
    }
    let mut admin = PgConnection::connect(instance.admin_url()).await.expect("the server");
    execute(&mut admin, &format!("CREATE ROLE {ROLE} LOGIN REPLICATION PASSWORD 'right'")).await;
    execute(&mut admin, &format!("CREATE DATABASE {DATABASE} OWNER {ROLE}")).await;
    execute(&mut admin, &format!("GRANT pg_read_all_data TO {ROLE}")).await;
    admin.close().await.expect("the connection ends");
    instance.admit(ACCESS).await;
    instance.encrypt(&ours.0).await;
    let port = instance.port();
    let url = |host: &str, password: &str, parameters: &str| {
        format!("postgres://{ROLE}:{password}@{host}:{port}/{DATABASE}?{parameters}")
    };
    // The server reads its files when it comes to it.
    let encrypted = url("localhost", "right", "sslmode=require");
    until("the server has TLS", async || PgConnection::connect(&encrypted).await.is_ok()).await;
    let mut writer = PgConnection::connect(&encrypted).await.expect("its owner");
    execute(&mut writer, "CREATE TABLE notes (id bigint PRIMARY KEY)").await;

    let (ours, others) = (ours.1.display(), others.1.display());
    for (host, parameters) in [
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", "sslmode=require&channel_binding=require".to_owned()),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ours}")),
        ("localhost", format!("sslmode=verify-full&sslrootcert={ours}&channel_binding=require")),
    ] {
        rows_arrive(&mut writer, &url(host, "right", &parameters)).await;
    }
    for (host, password, parameters) in [
        // The certificate is another host's.
        ("127.0.0.1", "right", format!("sslmode=verify-full&sslrootcert={ours}")),
        // An authority that we don't trust has signed it.
        ("localhost", "right", format!("sslmode=verify-full&sslrootcert={others}")),
        ("localhost", "right", format!("sslmode=verify-ca&sslrootcert={others}")),
        ("localhost", "right", format!("sslmode=require&sslrootcert={others}")),
        ("localhost", "right", "sslmode=verify-full".to_owned()),
        ("localhost", "right", "sslmode=verify-ca&sslrootcert=/no/such/file".to_owned()),
        // The server lets this role in over TLS alone, and with its password.
        ("localhost", "right", "sslmode=disable".to_owned()),
        ("localhost", "wrong", format!("sslmode=verify-full&sslrootcert={ours}")),
    ] {
        let refused = source(&url(host, password, &parameters), &new_feed()).await;
        let shown = format!("{refused:?}");
        let is_final = matches!(refused, Err(SourceError::Fatal { .. }));
        assert!(is_final, "{host} {parameters} must be refused for good: {shown}");
        assert!(!shown.contains("right") && !shown.contains("wrong@"), "the password shows: {shown}");
    }
}

fn new_feed() -> FeedName {
    FeedName::new(format!("tls_{}", Uuid::now_v7().simple())).expect("a valid name")
}

async fn source(url: &str, feed: &FeedName) -> Result<LogicalSource, SourceError> {
    LogicalSource::builder(url, feed).tables(["notes"]).create(true).connect().await
}

async fn rows_arrive(writer: &mut PgConnection, url: &str) {
    let feed = new_feed();
    let source = source(url, &feed).await.expect(url);
    source.elect().await.expect("nobody else is elected");
    source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.expect("a new slot");
    execute(writer, "TRUNCATE notes").await;
    execute(writer, "INSERT INTO notes SELECT generate_series(1, 1000)").await;
    let mut rows = 0;
    let reading = async {
        // The truncation is one.
        while rows < 1_001 {
            let run = source.next().await.expect("the server answers");
            rows += run.changes.iter().filter(|change| matches!(change.content, Content::Row(_))).count();
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("rows in time");
    // The election, what is asked beside the stream, and the stream.
    let sessions = "SELECT count(*) || ' ' || bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = $1";
    let name = format!("change-feed {feed}");
    let told: Option<String> = sqlx::query_scalar(sessions).bind(name).fetch_one(writer).await.expect("an answer");
    assert_eq!(told.as_deref(), Some("3 true"), "{url}");
    source.release().await;
    drop(source);
    let builder = LogicalSource::builder(url, &feed).tables(["notes"]);
    builder.clean_up().await.expect("nobody is active");
}
