//! Any table of PostgreSQL on stdout, in twenty lines: each committed insert, update and delete as a line of JSON.
//!
//! ```sh
//! DATABASE_URL=postgres://… cargo run --example logical_decoding -- public.orders
//! ```
//!
//! The role owns the table and has REPLICATION. Publication and slot are made at the start, and dropped after Ctrl-C.

use change_feed::ndjson::NdjsonPublisher;
use change_feed::{FeedName, LogicalSource, Relay, Router, RowFormat};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let table = std::env::args().nth(1).ok_or("which table? like public.orders")?;
    let database_url = std::env::var("DATABASE_URL")?;
    let feed = FeedName::new("logical_decoding")?;
    let builder = LogicalSource::builder(&database_url, &feed).tables([&table]).create(true);
    let source = builder.clone().connect().await?;
    let router = Router::rows_only().rows("db", [&*table], RowFormat::Flat);
    let relay = Relay::new(feed, source, router, NdjsonPublisher::stdout());
    relay.run(async { drop(tokio::signal::ctrl_c().await) }).await?;
    builder.clean_up().await?;
    Ok(())
}
