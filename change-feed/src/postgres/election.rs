//! Who is active: a session-level advisory lock.
//!
//! Whoever loses the connection loses the lock, and does not read on. What an older relay may still try
//! is to acknowledge; the generation in `change_feed.feeds` refuses it.
//!
//! A process that is frozen keeps its connection. The server ends it after [`SILENCE_MAX`], since nothing comes over it;
//! a process that lives sends a statement every [`HEARTBEAT_INTERVAL`].

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::server::Server;
use crate::feed::identity::FeedName;
use crate::source::SourceError;

/// Silence after which an elected relay loses the election.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Heartbeat interval of an idle leader.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);
/// Interval at which a standby relay tries the lock.
const STANDBY_INTERVAL_MS: u64 = 250;

/// Waits until this connection holds the feed's lock, and tells the server's process that holds it.
pub(crate) async fn win(server: &Server, connection: &mut PgConnection, feed: &FeedName) -> Result<i32, SourceError> {
    let mut announced = false;
    loop {
        let ask = sqlx::query("select pg_try_advisory_lock($1), pg_backend_pid()").bind(lock_key(feed));
        let asked = async {
            let row = ask.fetch_one(&mut *connection).await?;
            Ok((row.try_get::<bool, _>(0)?, row.try_get::<i32, _>(1)?))
        };
        let (won, process) = server.answer(asked).await?;
        if won {
            tracing::info!(target: "change_feed::source", %feed, process, "elected");
            return Ok(process);
        }
        if !announced {
            tracing::info!(target: "change_feed::source", %feed, "another relay is active; standing by");
            announced = true;
        }
        tokio::time::sleep(Duration::from_millis(STANDBY_INTERVAL_MS)).await;
    }
}

/// Gives the lock up; a standby has it within its next interval.
pub(crate) async fn release(
    server: &Server,
    connection: &mut PgConnection,
    feed: &FeedName,
) -> Result<(), SourceError> {
    let ask = sqlx::query_scalar("select pg_advisory_unlock($1)").bind(lock_key(feed));
    server.answer(ask.fetch_one(connection)).await.map(|_: bool| ())
}

/// The key of a feed's lock: FNV-1a, 64 bits, over a prefix of ours and the feed's name.
fn lock_key(feed: &FeedName) -> i64 {
    let bytes = b"change-feed:".iter().copied().chain(feed.as_str().bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    i64::from_ne_bytes(hash.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_of_a_feed_is_the_same_in_every_version() {
        let orders = FeedName::new("orders").expect("a valid name");
        let other = FeedName::new("orders2").expect("a valid name");
        assert_eq!(lock_key(&orders), lock_key(&orders));
        assert_ne!(lock_key(&orders), lock_key(&other));
    }
}
