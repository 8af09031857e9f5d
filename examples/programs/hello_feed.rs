//! A feed in fifteen lines: what commits in a SQLite file appears on stdout, in order, as lines of JSON.
//!
//! ```sh
//! cargo run --example hello_feed
//! ```

use change_feed::ndjson::NdjsonPublisher;
use change_feed::outbox::{Event, Guard, KeyType};
use change_feed::sqlite::SqliteOutboxSource;
use change_feed::{FeedName, Relay, Router};
use sqlx::SqlitePool;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("hello.db").display());
    let pool = SqlitePool::connect(&url).await?;

    // A table with a version, and an outbox beside it that the database guards.
    let guard = Guard::new("greetings").key_type(KeyType::BigInt);
    sqlx::query("create table greetings (id integer primary key, version integer not null)").execute(&pool).await?;
    guard.install(&mut *pool.acquire().await?).await?;

    // The change and its event, in one transaction.
    let mut tx = pool.begin().await?;
    sqlx::query("insert into greetings values (7, 1)").execute(&mut *tx).await?;
    guard.append(&mut *tx, Event::new("greeting.said.v1", 7, 1, "hello, world")).await?;
    tx.commit().await?;

    // What committed, on stdout; until one event is published.
    let feed = FeedName::new("hello")?;
    let source = SqliteOutboxSource::builder(&url, &feed).outbox(guard.outbox_table()).connect().await?;
    let relay = Relay::new(feed, source, Router::to_topic("greetings"), NdjsonPublisher::stdout());
    let handle = relay.handle();
    relay.run(async move { drop(handle.wait_until(|status| status.envelopes == 1).await) }).await?;
    Ok(())
}
