//! A source over a Unix socket, where a role is let in by its password alone.

use change_feed::{FeedName, LogicalSource};
use sqlx::{Connection as _, PgConnection};
use test_support::{Instance, execute, until};

const ACCESS: &str = "
    local all clear password
    local all hashed md5
    local all proven scram-sha-256";

#[tokio::test]
async fn every_connection_of_a_source_comes_in_over_a_unix_socket() {
    let instance = Instance::start("logical-unix-socket").await;
    let mut admin = PgConnection::connect(instance.admin_url()).await.expect("the server");
    for (encryption, role) in [("scram-sha-256", "clear"), ("scram-sha-256", "proven"), ("md5", "hashed")] {
        execute(&mut admin, &format!("SET password_encryption = '{encryption}'")).await;
        execute(&mut admin, &format!("CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'the right one'")).await;
    }
    admin.close().await.expect("the connection ends");
    instance.admit(ACCESS).await;
    let feed = FeedName::new("ways").expect("a name");
    for role in ["clear", "hashed", "proven"] {
        let (folder, port) = (instance.socket_folder(), instance.port());
        let url = format!("postgres://{role}:the%20right%20one@localhost/postgres?host={folder}&port={port}");
        // The server reads its files when it comes to it.
        until("the role is let in", async || PgConnection::connect(&url).await.is_ok()).await;
        // Over a Unix socket TLS is neither there nor missed.
        let url = format!("{url}&sslmode=require");
        let found = LogicalSource::find_outbox(&url, &feed, "public", "nothing").await;
        let answer = found.expect_err("there is no outbox");
        assert!(answer.to_string().contains("no outbox public.nothing"), "{role}: {answer:?}");
    }
}
