//! Finds an outbox of which only the name is known.

use std::time::Duration;

use super::source::LogicalSource;
use crate::feed::identity::FeedName;
use crate::outbox::table::Outbox;
use crate::postgres::server::Server;
use crate::source::SourceError;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

impl LogicalSource {
    /// The outbox of this name as the database has it, for programs that did not make it: see
    /// [`Outbox::find`](crate::outbox::table::Outbox::find).
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use change_feed::FeedName;
    /// use change_feed::postgres::log::LogicalSource;
    ///
    /// let (url, feed) = ("postgres://feed@db.example/shop", FeedName::new("shop")?);
    /// let outbox = LogicalSource::find_outbox(url, &feed, "public", "order_events").await?;
    /// let source = LogicalSource::builder(url, &feed).outbox(outbox).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SourceError::Fatal`] if there is no such table, if it is not an outbox, for a malformed URL, and for a server that doesn't let
    /// the role in; [`SourceError::Transient`] while the server is away or doesn't answer within 15 s.
    pub async fn find_outbox(
        database_url: &str,
        feed: &FeedName,
        schema: &str,
        table: &str,
    ) -> Result<Outbox, SourceError> {
        let server = Server::new(database_url, feed, ANSWER_TIMEOUT, "")?;
        let mut connection = server.connect(None).await?;
        let found = server.answer(Outbox::find(&mut connection, schema, table)).await?;
        found.ok_or_else(|| {
            SourceError::fatal(
                format!("there is no outbox {schema}.{table} in this database"),
                "install one (see change_feed::outbox::Guard), or name the right table; one whose rows are to be published \
                 as they are goes under the tables to capture (--tables)",
            )
        })
    }
}
