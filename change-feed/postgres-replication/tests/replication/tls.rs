//! TLS: what each `sslmode` demands, certificates, channel binding.

use std::path::{Path, PathBuf};

use postgres_replication::Lsn;
use postgres_replication::{ReplicationConnection, ReplicationError, StartOptions};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use test_support::{Authority, Instance, execute, until};

use crate::replication::database::{Database, PUBLICATION, Read};

const ACCESS: &str = "
    hostssl all encrypted 127.0.0.1/32 scram-sha-256
    hostssl all clear 127.0.0.1/32 password
    hostssl all certified 127.0.0.1/32 cert
    host all encrypted,certified,clear 127.0.0.1/32 reject";

#[tokio::test]
async fn a_server_with_tls_is_trusted_exactly_as_far_as_was_said() {
    let instance = Instance::start("replication-tls").await;
    let mut admin = PgConnection::connect(instance.admin_url()).await.expect("the server");
    for role in ["encrypted", "clear", "certified"] {
        execute(&mut admin, &format!("CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'right'")).await;
    }

    let refusing = Server { instance: &instance };
    let error = refusing.connect("encrypted", "localhost", "sslmode=require").await.expect_err("it has no TLS yet");
    assert!(matches!(error, ReplicationError::Tls { .. }), "{error:?}");

    let files = Files::make();
    let authority = Authority::new("ours");
    instance.admit(ACCESS).await;
    instance.encrypt(&authority).await;
    let server = Server { instance: &instance };
    server.wait_until_encrypted().await;

    let ours = files.keep("ours.crt", &authority.certificate);
    let others = files.keep("others.crt", &Authority::new("others").certificate);
    modes(&server, &ours, &others).await;
    channel_binding(&server).await;
    client_certificates(&server, &files, &authority, &ours).await;
    streams(&instance).await;
    admin.close().await.expect("the connection ends");
}

async fn modes(server: &Server<'_>, ours: &Path, others: &Path) {
    let (ours, others) = (ours.display(), others.display());
    // (host, parameters, does it connect)
    let cases = [
        ("127.0.0.1", "sslmode=allow".to_owned(), true),
        ("127.0.0.1", "sslmode=prefer".to_owned(), true),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ours}"), true),
        ("localhost", format!("sslmode=verify-full&sslrootcert={ours}"), true),
        ("localhost", format!("sslmode=require&sslrootcert={ours}"), true),
        // The certificate is another host's.
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ours}"), false),
        ("elsewhere", format!("sslmode=verify-full&sslrootcert={ours}"), false),
        // An authority that we don't trust has signed it.
        ("localhost", format!("sslmode=verify-full&sslrootcert={others}"), false),
        ("localhost", format!("sslmode=verify-ca&sslrootcert={others}"), false),
        ("localhost", format!("sslmode=require&sslrootcert={others}"), false),
        ("localhost", "sslmode=verify-full".to_owned(), false),
        ("localhost", "sslmode=verify-ca&sslrootcert=system".to_owned(), false),
        ("localhost", "sslmode=verify-ca&sslrootcert=/no/such/file".to_owned(), false),
    ];
    for (host, parameters, connects) in cases {
        match server.connect("encrypted", host, &parameters).await {
            Ok(()) => assert!(connects, "{host} {parameters} connected"),
            Err(error) => {
                assert!(!connects, "{host} {parameters}: {error:?}");
                assert!(matches!(error, ReplicationError::Tls { .. }), "{host} {parameters}: {error:?}");
                assert!(!format!("{error:?}").contains("right"));
            }
        }
    }
    let error = server.connect("encrypted", "127.0.0.1", "sslmode=disable").await.expect_err("the server insists");
    assert_eq!(error.sqlstate(), Some("28000"), "{error:?}");
    // Over TLS a password may go as it is.
    server.connect("clear", "127.0.0.1", "sslmode=require").await.expect("nobody else can read it");
}

async fn channel_binding(server: &Server<'_>) {
    for binding in ["disable", "prefer", "require"] {
        let parameters = format!("sslmode=require&channel_binding={binding}");
        server.connect("encrypted", "localhost", &parameters).await.expect(binding);
    }
    let parameters = "sslmode=require&channel_binding=require";
    let error =
        server.connect("clear", "localhost", parameters).await.expect_err("a password in the clear isn't bound");
    assert!(matches!(error, ReplicationError::Authentication { .. }), "{error:?}");
}

async fn client_certificates(server: &Server<'_>, files: &Files, authority: &Authority, ours: &Path) {
    let with = |certificate: &Path, key: &Path| {
        let (ours, certificate, key) = (ours.display(), certificate.display(), key.display());
        format!("sslmode=verify-full&sslrootcert={ours}&sslcert={certificate}&sslkey={key}")
    };
    let (certificate, key) = authority.certify("certified");
    let (certificate, key) = (files.keep("client.crt", &certificate), files.keep("client.key", &key));
    server.connect("certified", "localhost", &with(&certificate, &key)).await.expect("its certificate lets it in");

    let parameters = format!("sslmode=verify-full&sslrootcert={}", ours.display());
    let error = server.connect("certified", "localhost", &parameters).await.expect_err("it shows no certificate");
    assert_eq!(error.sqlstate(), Some("28000"), "{error:?}");

    let (certificate, other_key) = authority.certify("somebody else");
    let (certificate, other_key) = (files.keep("other.crt", &certificate), files.keep("other.key", &other_key));
    let error = server.connect("certified", "localhost", &with(&certificate, &other_key)).await.expect_err("another's");
    assert_eq!(error.sqlstate(), Some("28000"), "{error:?}");
    let error = server.connect("certified", "localhost", &with(&certificate, &key)).await.expect_err("another key");
    assert!(matches!(error, ReplicationError::Tls { .. }), "{error:?}");
}

async fn streams(instance: &Instance) {
    let mut database = Database::on(instance.admin_url()).await;
    database.create_slot().await;
    database.commit(0..4_999).await;
    // Far more than one record of TLS, and than one read.
    database.execute("INSERT INTO notes SELECT 4999, repeat('long', 5000000)").await;
    let url = format!("{}?sslmode=require", database.url());
    let connection = ReplicationConnection::connect(&url.parse().expect("a URL")).await.expect("a connection");
    let mut stream =
        connection.start(&database.slot, Lsn::INVALID, &StartOptions::new([PUBLICATION])).await.expect("a stream");
    let encrypted = "SELECT ssl::text FROM pg_stat_ssl JOIN pg_replication_slots ON pid = active_pid";
    assert_eq!(database.text(encrypted).await.as_deref(), Some("true"));
    let read = Read::transactions(&mut stream, 2).await;
    assert_eq!(read.ids, Vec::from_iter(0..5_000));
    stream.confirmer().confirm(read.commits[1]);
    stream.close().await.expect("the stream ends");
    assert_eq!(database.confirmed().await, read.commits[1]);
    database.drop().await;
}

struct Server<'a> {
    instance: &'a Instance,
}

impl Server<'_> {
    async fn connect(&self, role: &str, host: &str, parameters: &str) -> Result<(), ReplicationError> {
        let port = self.instance.port();
        // Without a name service.
        let url = format!("postgres://{role}:right@{host}:{port}/postgres?{parameters}&hostaddr=127.0.0.1");
        ReplicationConnection::connect(&url.parse()?).await?.close().await;
        Ok(())
    }

    /// The server reads its files when it comes to it.
    async fn wait_until_encrypted(&self) {
        let connects = async || self.connect("encrypted", "localhost", "sslmode=require").await.is_ok();
        until("the server has TLS", connects).await;
    }
}

/// Files that the URL names.
struct Files(tempfile::TempDir);

impl Files {
    fn make() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn keep(&self, name: &str, content: &str) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::write(&file, content).expect(name);
        file
    }
}
