//! What a feed needs on its server: looked at, and made where that is wanted.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::captures::{Captures, TableName, quoted};
use super::facts::{PublicationFacts, ServerFacts, SlotFacts, TableFacts};
use super::requirements::{
    check_publication, check_server, check_tables, create_publication, missing_tables, publication_of,
    publication_was_dropped, unfit, with_publication,
};
use crate::feed::identity::FeedName;
use crate::postgres::election::SIGN_OF_LIFE_INTERVAL;
use crate::postgres::server::Server;
use crate::postgres::state;
use crate::source::SourceError;
use postgres_replication::ConnectOptions;
use postgres_replication::NewSlot;
use postgres_replication::ReplicationConnection;
use postgres_replication::ReplicationError;

/// The first version whose slots can survive a fail-over.
const FAILOVER_SINCE: i32 = 170_000;

/// A feed, and what it needs on its server.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) server: Server,
    pub(super) replication: ConnectOptions,
    pub(super) feed: FeedName,
    pub(super) captures: Captures,
    pub(super) publication: String,
    pub(super) slot: String,
    /// Whether publication and slot are made where they are missing.
    pub(super) creates: bool,
    /// Whether the slot is made to survive a fail-over.
    pub(super) failover: bool,
}

impl Setup {
    /// What the server's sessions of this feed are called.
    pub(super) fn application_name(feed: &FeedName) -> String {
        format!("change-feed {feed}")
    }

    /// The server can be captured from, and everything but the slot is as it must be, or will be made so.
    pub(super) async fn check(&self, connection: &mut PgConnection) -> Result<ServerFacts, SourceError> {
        let facts = ServerFacts::ask(&self.server, connection).await?;
        check_server(&facts)?;
        if self.failover && facts.version < FAILOVER_SINCE {
            return Err(unfit(
                format!("PostgreSQL {} has no slots that survive a fail-over", facts.version / 10_000),
                "use PostgreSQL 17 or later, or make the feed without failover()",
            ));
        }
        self.check_tables(connection).await?;
        let publication = self.publication_facts(connection, &facts).await?;
        match &publication {
            None if self.creates => {}
            Some(found) if self.creates && self.is_own(found) && !missing_tables(&self.captures, found).is_empty() => {}
            found => check_publication(&self.publication, &self.captures, found.as_ref())?,
        }
        Ok(facts)
    }

    /// Makes what is missing: the feed's table, the publication, and the slot of a feed that is new. Relays of one feed that
    /// do so at once wait for each other.
    pub(super) async fn make(&self, connection: &mut PgConnection, facts: &ServerFacts) -> Result<(), SourceError> {
        state::create(&self.server, connection).await?;
        let key = format!("change-feed makes what is missing of {}", self.feed);
        let lock = sqlx::query("select pg_advisory_lock(hashtextextended($1, 0))").bind(&key);
        self.server.answer(lock.execute(&mut *connection)).await?;
        self.make_publication(connection, facts).await?;
        let stored = state::checkpoint(&self.server, connection, &self.feed).await?;
        if stored.is_none() && self.slot_facts(connection, facts).await?.is_none() {
            self.make_slot(connection).await?;
        }
        // A connection that is given up before gives the lock up too.
        let unlock = sqlx::query("select pg_advisory_unlock(hashtextextended($1, 0))").bind(&key);
        self.server.answer(unlock.execute(&mut *connection)).await.map(drop)
    }

    /// Makes the publication, or adds to it what it lacks if the feed has made it.
    async fn make_publication(&self, connection: &mut PgConnection, facts: &ServerFacts) -> Result<(), SourceError> {
        let name = quoted(&self.publication);
        match self.publication_facts(connection, facts).await? {
            // What was written since it was dropped would be missing.
            None if self.publication_read(connection).await?.is_some() => {
                return Err(publication_was_dropped(&self.publication, &self.feed, None));
            }
            None => {
                let comment = self.comment().replace('\'', "''");
                let create = create_publication(&name, &self.captures);
                self.own(connection, &format!("{create} comment on publication {name} is '{comment}';")).await?;
                tracing::info!(target: "change_feed::source", feed = %self.feed, publication = name, "created");
            }
            Some(found) if self.is_own(&found) => {
                let missing = missing_tables(&self.captures, &found);
                let tables: Vec<_> = missing.iter().map(TableName::quoted).collect();
                if !tables.is_empty() {
                    let tables = tables.join(", ");
                    self.own(connection, &format!("alter publication {name} add table {tables};")).await?;
                    tracing::info!(target: "change_feed::source", feed = %self.feed, tables, "added to the publication");
                }
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Makes the slot of a new feed. The slot of a feed that has a position is never made anew: what was written since would
    /// be missing.
    async fn make_slot(&self, connection: &mut PgConnection) -> Result<(), SourceError> {
        tracing::info!(
            target: "change_feed::source", feed = %self.feed, slot = self.slot,
            "creating the replication slot, which waits for the transactions that are running"
        );
        let made = async {
            let mut replication = ReplicationConnection::connect(&self.replication).await?;
            let slot = NewSlot::new(&self.slot).failover(self.failover);
            let made = replication.create_slot(&slot).await;
            replication.close().await;
            made
        };
        let mut made = std::pin::pin!(made);
        let made = loop {
            tokio::select! {
                made = &mut made => break made.map_err(judge)?,
                // A session that is silent for long may be ended by what lies between.
                () = tokio::time::sleep(SIGN_OF_LIFE_INTERVAL) => {
                    let sign = sqlx::query("select 1");
                    self.server.answer(connection.execute(sign)).await?;
                }
            }
        };
        let from = made.consistent_point;
        tracing::info!(target: "change_feed::source", feed = %self.feed, slot = self.slot, %from, "created");
        Ok(())
    }

    /// A new feed was not told to make its slot, or somebody dropped it.
    pub(super) fn no_slot(&self) -> SourceError {
        unfit(
            format!("there is no replication slot {}", quoted(&self.slot)),
            format!(
                "run: select pg_create_logical_replication_slot('{}', 'pgoutput'); or let the feed create it: what is \
                 written from then on is in the feed",
                self.slot
            ),
        )
    }

    /// Drops the publication if this feed has made it.
    pub(super) async fn drop_publication(
        &self,
        connection: &mut PgConnection,
        facts: &ServerFacts,
    ) -> Result<(), SourceError> {
        match self.publication_facts(connection, facts).await? {
            Some(found) if self.is_own(&found) => {
                self.own(connection, &format!("drop publication {};", quoted(&self.publication))).await
            }
            _ => Ok(()),
        }
    }

    /// Whether everything still is as it must be.
    pub(super) async fn check_again(
        &self,
        connection: &mut PgConnection,
        facts: &ServerFacts,
    ) -> Result<Option<SlotFacts>, SourceError> {
        self.check_tables(connection).await?;
        let publication = self.publication_facts(connection, facts).await?;
        let read = self.publication_read(connection).await?;
        match publication {
            None if read.is_some() => return Err(publication_was_dropped(&self.publication, &self.feed, None)),
            found => {
                check_publication(&self.publication, &self.captures, found.as_ref())?;
                if let Some(found) = found {
                    self.check_same(connection, read, found.oid).await?;
                }
            }
        }
        self.slot_facts(connection, facts).await
    }

    /// The object id of the publication that the feed has read so far, as its relays have written it down.
    async fn publication_read(&self, connection: &mut PgConnection) -> Result<Option<u32>, SourceError> {
        let captures = state::captures(&self.server, connection, &self.feed).await?;
        Ok(captures.as_deref().and_then(publication_of))
    }

    /// The publication is the one that the feed began with. One that was dropped and made anew lacks what was written in
    /// between, and PostgreSQL 18 passes over that in silence.
    async fn check_same(
        &self,
        connection: &mut PgConnection,
        read: Option<u32>,
        found: u32,
    ) -> Result<(), SourceError> {
        if read == Some(found) {
            return Ok(());
        }
        let Some(captures) = state::captures(&self.server, connection, &self.feed).await? else {
            return Ok(());
        };
        let now = with_publication(&captures, found);
        match read {
            Some(_) => Err(publication_was_dropped(&self.publication, &self.feed, Some(&now))),
            None => state::specify(&self.server, connection, &self.feed, &captures, &now).await,
        }
    }

    pub(super) async fn slot_facts(
        &self,
        connection: &mut PgConnection,
        facts: &ServerFacts,
    ) -> Result<Option<SlotFacts>, SourceError> {
        SlotFacts::ask(&self.server, connection, facts.version, &self.slot).await
    }

    async fn check_tables(&self, connection: &mut PgConnection) -> Result<(), SourceError> {
        let tables = TableFacts::ask(&self.server, connection, &self.captures.published()).await?;
        check_tables(&self.captures, &tables)
    }

    async fn publication_facts(
        &self,
        connection: &mut PgConnection,
        facts: &ServerFacts,
    ) -> Result<Option<PublicationFacts>, SourceError> {
        PublicationFacts::ask(&self.server, connection, facts.version, &self.publication).await
    }

    /// The comment that marks a publication as this feed's own: others are not altered.
    fn comment(&self) -> String {
        format!("made by the change feed {}", self.feed)
    }

    fn is_own(&self, publication: &PublicationFacts) -> bool {
        publication.comment.as_deref() == Some(&self.comment())
    }

    /// Runs what only the tables' owner may.
    async fn own(&self, connection: &mut PgConnection, script: &str) -> Result<(), SourceError> {
        let run = async { Ok(connection.execute(sqlx::raw_sql(AssertSqlSafe(script.to_owned()))).await) };
        match self.server.answer(run).await? {
            Ok(_) => Ok(()),
            Err(sqlx::Error::Database(refusal)) if refusal.code().as_deref() == Some("42501") => Err(unfit(
                format!("the feed's role may not alter its publication ({refusal})"),
                format!("let the tables' owner run: {script}"),
            )),
            Err(other) => self.server.answer(async { Err(other) }).await,
        }
    }
}

/// What an error of the replication protocol means for the feed.
pub(super) fn judge(error: ReplicationError) -> SourceError {
    let said = error.server_error().map_or_else(|| error.to_string(), ToString::to_string);
    match &error {
        ReplicationError::Denied(_) => {
            unfit(said, "let an administrator give the feed's role the attribute REPLICATION")
        }
        ReplicationError::PublicationMissing(_) | ReplicationError::SlotMissing(_) => {
            unfit(said, "somebody dropped what the feed reads: start the feed anew under a new name")
        }
        ReplicationError::Prerequisite(_) => {
            unfit(said, "mend what the server says; if the slot was invalidated, start a feed under a new name")
        }
        ReplicationError::Authentication { .. } | ReplicationError::Tls { .. } | ReplicationError::Unusable(_) => {
            SourceError::Fatal {
                what: "the database refused the feed".to_owned(),
                remedy:
                    "mend the database's URL, the role's password or the server's pg_hba.conf (the feed's role must \
                         be let in for replication too)"
                        .to_owned(),
                source: Some(Box::new(error)),
            }
        }
        _ => SourceError::transient(error),
    }
}
