//! Ends a feed for good and removes its traces on the server.

use std::time::Duration;

use super::builder::LogicalSourceBuilder;
use super::server_state::ServerState;
use super::setup::Setup;
use crate::postgres::{election, state};
use crate::source::SourceError;

/// Limit of the wait for another relay of the feed.
const ELECTION_LIMIT_MS: u64 = 1_000;

impl LogicalSourceBuilder {
    /// Ends a feed for good: drops its slot, which else holds back the server's log for ever, its publication if the feed
    /// [has made it](LogicalSourceBuilder::create), and what is stored of it. What is missing already is no error.
    ///
    /// A feed that is started under this name again is a new one: it begins with what is written then, and needs a new
    /// topic.
    ///
    /// ```no_run
    /// # async fn end() -> Result<(), Box<dyn std::error::Error>> {
    /// use change_feed::{FeedName, LogicalSource};
    ///
    /// LogicalSource::builder("postgres://feed@localhost/store", &FeedName::new("orders")?).clean_up().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SourceError::Transient`] while a relay of the feed is active, or the server is away; else those of
    /// [`connect`](LogicalSourceBuilder::connect).
    pub async fn clean_up(self) -> Result<(), SourceError> {
        let setup = self.setup()?;
        let Setup { server, feed, slot, .. } = &setup;
        let mut connection = server.connect(None).await?;
        let state = ServerState::read_primary(server, &mut connection).await?;
        let won = election::win(server, &mut connection, feed);
        if tokio::time::timeout(Duration::from_millis(ELECTION_LIMIT_MS), won).await.is_err() {
            return Err(SourceError::transient("a relay of this feed is active: stop it first"));
        }
        if let Some(found) = setup.slot(&mut connection, &state).await? {
            found.check(slot, &state)?;
            let drop_slot = sqlx::query("select pg_drop_replication_slot($1)").bind(slot);
            server.answer(drop_slot.execute(&mut connection)).await?;
            tracing::info!(target: "change_feed::source", %feed, slot, "dropped the replication slot");
        }
        setup.drop_publication(&mut connection, &state).await?;
        state::forget(server, &mut connection, feed).await
    }
}
