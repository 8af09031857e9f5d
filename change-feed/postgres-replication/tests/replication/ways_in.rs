//! How a role is let in, over TCP without TLS and over a Unix socket.

use postgres_replication::{ConnectOptions, ReplicationConnection, ReplicationError};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use test_support::{Instance, execute, until};

const ACCESS: &str = "
    local all clear password
    local all hashed md5
    local all proven scram-sha-256
    host all trusted 127.0.0.1/32 trust
    host all clear 127.0.0.1/32 password
    host all hashed 127.0.0.1/32 md5
    host all proven 127.0.0.1/32 scram-sha-256
    host all plain 127.0.0.1/32 scram-sha-256
    host all unwanted 127.0.0.1/32 reject";

#[tokio::test]
async fn each_way_in_is_known_and_each_refusal_is_typed() {
    let instance = Instance::start("replication-ways-in").await;
    let mut admin = PgConnection::connect(instance.admin_url()).await.expect("the server");
    for role in ["trusted", "clear", "proven", "unwanted"] {
        execute(&mut admin, &format!("CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'the right one'")).await;
    }
    execute(&mut admin, "CREATE ROLE plain LOGIN PASSWORD 'the right one'").await;
    execute(&mut admin, "SET password_encryption = 'md5'").await;
    execute(&mut admin, "CREATE ROLE hashed LOGIN REPLICATION PASSWORD 'the right one'").await;
    instance.admit(ACCESS).await;
    let ways = Ways { instance: &instance };
    ways.wait_until_known().await;

    over_tcp(&ways).await;
    over_a_unix_socket(&ways).await;
    admin.close().await.expect("the connection ends");
}

async fn over_tcp(ways: &Ways<'_>) {
    ways.tcp("trusted", "").await.expect("trust");
    for role in ["hashed", "proven"] {
        ways.tcp(role, "the right one").await.expect(role);
        let error = ways.tcp(role, "a wrong one").await.expect_err(role);
        assert_authentication(&error, Some("28P01"));
        assert_authentication(&ways.tcp(role, "").await.expect_err("no password"), None);
    }
    let error = ways.tcp("clear", "the right one").await.expect_err("anybody on the way could read it");
    assert_authentication(&error, None);
    let asked_for = ways.tcp_options("clear", "the right one").allow_cleartext_password(true);
    ReplicationConnection::connect(&asked_for).await.expect("it was asked for").close().await;
    assert_authentication(&ways.tcp("unwanted", "the right one").await.expect_err("rejected"), Some("28000"));
    let error = ways.tcp("plain", "the right one").await.expect_err("a role without REPLICATION");
    assert!(matches!(error, ReplicationError::Denied(_)), "{error:?}");
    assert_eq!(error.sqlstate(), Some("42501"));
    let bound = format!("{}?channel_binding=require", ways.tcp_url("proven", "the right one"));
    let error = ReplicationConnection::connect(&bound.parse().expect("a URL")).await.expect_err("no TLS to bind to");
    assert_authentication(&error, None);
}

async fn over_a_unix_socket(ways: &Ways<'_>) {
    for role in ["clear", "hashed", "proven"] {
        let url = |password: &str| {
            let (folder, port) = (ways.instance.socket_folder(), ways.instance.port());
            let password = password.replace(' ', "%20");
            format!("postgres://{role}:{password}@/postgres?host={folder}&port={port}&sslmode=require")
        };
        let options = url("the right one").parse().expect("a URL");
        ReplicationConnection::connect(&options).await.expect(role).close().await;
        let options = url("a wrong one").parse().expect("a URL");
        assert_authentication(&ReplicationConnection::connect(&options).await.expect_err(role), Some("28P01"));
    }
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn without_tls_in_the_program_a_url_that_demands_it_is_refused() {
    for mode in ["require", "verify-ca", "verify-full"] {
        let url = format!("{}?sslmode={mode}", test_support::required("ADMIN_DATABASE_URL"));
        let error = ReplicationConnection::connect(&url.parse().expect("a URL")).await.expect_err(mode);
        assert!(matches!(error, ReplicationError::Tls { .. }), "{error:?}");
    }
}

struct Ways<'a> {
    instance: &'a Instance,
}

impl Ways<'_> {
    fn tcp_url(&self, role: &str, password: &str) -> String {
        let password = password.replace(' ', "%20");
        let colon = if password.is_empty() { "" } else { ":" };
        format!("postgres://{role}{colon}{password}@127.0.0.1:{}/postgres", self.instance.port())
    }

    fn tcp_options(&self, role: &str, password: &str) -> ConnectOptions {
        self.tcp_url(role, password).parse().expect("a URL")
    }

    async fn tcp(&self, role: &str, password: &str) -> Result<(), ReplicationError> {
        let connected = ReplicationConnection::connect(&self.tcp_options(role, password)).await;
        if let Err(error) = &connected {
            let shown = format!("{error} {error:?} {:?}", std::error::Error::source(error).map(ToString::to_string));
            assert!(password.is_empty() || !shown.contains(password), "the password shows: {shown}");
        }
        connected?.close().await;
        Ok(())
    }

    /// The server reads its files when it comes to it.
    async fn wait_until_known(&self) {
        until("the roles are let in", async || self.tcp("trusted", "").await.is_ok()).await;
    }
}

fn assert_authentication(error: &ReplicationError, sqlstate: Option<&str>) {
    assert!(matches!(error, ReplicationError::Authentication { .. }), "{error:?}");
    assert_eq!(error.sqlstate(), sqlstate, "{error:?}");
    assert!(!error.is_transient());
}
