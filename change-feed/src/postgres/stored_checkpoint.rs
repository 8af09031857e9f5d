//! Reads the stored checkpoint of a feed for programs that do not run it.

use std::time::Duration;

use super::server::Server;
use super::state;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::FeedName;
use crate::source::SourceError;

const ANSWER_TIMEOUT_MS: u64 = 15_000;

/// Reads the checkpoint of a feed in a PostgreSQL database: its identity and position. `None` if no
/// feed of this name has begun there. It takes no part in the election.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use change_feed::FeedName;
/// use change_feed::postgres::postgres_checkpoint;
///
/// let stored = postgres_checkpoint("postgres://feed@localhost/store", &FeedName::new("orders")?).await?;
/// if let Some(checkpoint) = stored {
///     println!("captured by {}, published through {}", checkpoint.identity.source.kind, checkpoint.position);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`SourceError::Fatal`] for a malformed URL and for a role that may not read `change_feed.feeds`;
/// [`SourceError::Transient`] while the server is away.
pub async fn postgres_checkpoint(database_url: &str, feed: &FeedName) -> Result<Option<Checkpoint>, SourceError> {
    let server = Server::new(database_url, feed, Duration::from_millis(ANSWER_TIMEOUT_MS), "")?;
    let mut connection = server.connect(None).await?;
    let exists = sqlx::query_scalar("select to_regclass('change_feed.feeds') is not null");
    if !server.answer(exists.fetch_one(&mut connection)).await? {
        return Ok(None);
    }
    state::checkpoint(&server, &mut connection, feed).await
}
