//! What a feed needs on its server: checked, and made where that is wanted.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::catalog_table::CapturedTable;
use super::publication::{
    Publication, check_publication, create_publication, missing_tables, publication_of, publication_was_dropped,
    publish_all_operations, with_publication,
};
use super::selection::{Selection, TableName, quoted};
use super::server_state::ServerState;
use super::slot::Slot;
use super::table_checks::check_tables;
use crate::feed::identity::FeedName;
use crate::postgres::mismatch::unfit;
use crate::postgres::server::{Server, standby};
use crate::postgres::{sqlstate, state};
use crate::source::SourceError;
use postgres_replication::{ConnectOptions, ReplicationConnection, ReplicationError};

/// The first version whose slots can survive a fail-over.
const FAILOVER_SINCE: i32 = 170_000;

/// What a role may set by default that ends or delays what a walsender does. Not every version knows each of them.
const WALSENDER_SETTINGS: &str = "select pg_catalog.set_config(name, '0', false) from pg_catalog.pg_settings \
     where name in ('transaction_timeout', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')";

/// A feed, and what it needs on its server.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) server: Server,
    /// For each address of the server.
    pub(super) replication: Vec<ConnectOptions>,
    pub(super) feed: FeedName,
    pub(super) selection: Selection,
    pub(super) publication: String,
    pub(super) slot: String,
    /// Whether publication and slot are made where they are missing.
    pub(super) creates: bool,
    /// Whether the slot is made to survive a fail-over.
    pub(super) failover: bool,
    /// How long a slot that is made may wait for open transactions.
    pub(super) slot_wait: Duration,
}

impl Setup {
    /// Checks that the server can be captured from, and that everything is as it must be or will be made so: before anything is
    /// made. How far a slot is, is checked when the election is won.
    pub(super) async fn check(&self, connection: &mut PgConnection) -> Result<ServerState, SourceError> {
        let state = ServerState::read(&self.server, connection).await?;
        if state.in_recovery && state::has_begun(&self.server, connection, &self.feed).await? {
            return Err(standby());
        }
        state.check()?;
        if self.failover && state.version < FAILOVER_SINCE {
            return Err(unfit(
                format!("PostgreSQL {} has no slots that survive a fail-over", state.version / 10_000),
                "use PostgreSQL 17 or later, or make the feed without failover()",
            ));
        }
        let publication = self.publication(connection, &state).await?;
        let is_made =
            self.creates && publication.as_ref().is_none_or(|found| self.is_own(found) && self.needs_more(found));
        let to_be_made = Publication::to_be_made(&self.selection);
        let checked = publication.as_ref().filter(|_| !is_made).unwrap_or(&to_be_made);
        self.check_tables(connection, checked, &state).await?;
        if !is_made {
            check_publication(&self.publication, &self.selection, publication.as_ref())?;
        }
        if let Some(slot) = self.slot(connection, &state).await? {
            slot.check(&self.slot, &state)?;
        }
        Ok(state)
    }

    /// Makes what is missing: the feed's table, the publication, and the slot of a feed that is new. Relays of one feed that
    /// do so at once wait for each other.
    pub(super) async fn make(&self, connection: &mut PgConnection, state: &ServerState) -> Result<(), SourceError> {
        state::create(&self.server, connection).await?;
        let key = format!("change-feed makes what is missing of {}", self.feed);
        let lock = sqlx::query("select pg_advisory_lock(hashtextextended($1, 0))").bind(&key);
        self.server.answer(lock.execute(&mut *connection)).await?;
        self.make_publication(connection, state).await?;
        let stored = state::checkpoint(&self.server, connection, &self.feed).await?;
        if stored.is_none() {
            self.make_slot(connection, state).await?;
        }
        // A connection that is given up before gives the lock up too.
        let unlock = sqlx::query("select pg_advisory_unlock(hashtextextended($1, 0))").bind(&key);
        self.server.answer(unlock.execute(&mut *connection)).await.map(drop)
    }

    /// Makes the publication, or adds to it what it lacks if the feed has made it.
    async fn make_publication(&self, connection: &mut PgConnection, state: &ServerState) -> Result<(), SourceError> {
        let name = quoted(&self.publication);
        match self.publication(connection, state).await? {
            // What was written since it was dropped would be missing.
            None if self.publication_read(connection).await?.is_some() => {
                return Err(publication_was_dropped(&self.publication, &self.feed, None));
            }
            None => {
                let comment = self.comment().replace('\'', "''");
                let create = create_publication(&name, &self.selection);
                self.run_as_owner(connection, &format!("{create} comment on publication {name} is '{comment}';"))
                    .await?;
                tracing::info!(target: "change_feed::source", feed = %self.feed, publication = name, "created");
            }
            Some(found) if self.is_own(&found) && self.needs_more(&found) => {
                let missing = missing_tables(&self.selection, &found);
                let tables: Vec<_> = missing.iter().map(TableName::quoted).collect();
                let tables = tables.join(", ");
                let operations = match self.has_only_outboxes(&found) && !self.selection.tables.is_empty() {
                    true => publish_all_operations(&name),
                    false => String::new(),
                };
                let add = format!("{operations} alter publication {name} add table {tables};");
                self.run_as_owner(connection, &add).await?;
                tracing::info!(target: "change_feed::source", feed = %self.feed, tables, "added to the publication");
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Whether tables must be added to the feed's own publication.
    fn needs_more(&self, publication: &Publication) -> bool {
        !missing_tables(&self.selection, publication).is_empty()
    }

    /// Whether the publication holds no table whose rows are captured, so that it publishes inserts alone.
    fn has_only_outboxes(&self, publication: &Publication) -> bool {
        let is_outbox = |name: &TableName| self.selection.outbox(&name.schema, &name.name).is_some();
        publication.tables.iter().all(|table| is_outbox(&table.name))
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
        state: &ServerState,
    ) -> Result<(), SourceError> {
        match self.publication(connection, state).await? {
            Some(found) if self.is_own(&found) => {
                self.run_as_owner(connection, &format!("drop publication {};", quoted(&self.publication))).await
            }
            _ => Ok(()),
        }
    }

    /// Checks that everything still is as it must be.
    pub(super) async fn check_again(
        &self,
        connection: &mut PgConnection,
        state: &ServerState,
    ) -> Result<Option<Slot>, SourceError> {
        let publication = self.publication(connection, state).await?;
        let read = self.publication_read(connection).await?;
        if publication.is_none() && read.is_some() {
            return Err(publication_was_dropped(&self.publication, &self.feed, None));
        }
        let to_be_made = Publication::to_be_made(&self.selection);
        self.check_tables(connection, publication.as_ref().unwrap_or(&to_be_made), state).await?;
        check_publication(&self.publication, &self.selection, publication.as_ref())?;
        if let Some(found) = publication {
            self.check_same(connection, read, found.oid).await?;
        }
        self.slot(connection, state).await
    }

    /// The object id of the publication that the feed has read so far, as its relays have recorded it.
    async fn publication_read(&self, connection: &mut PgConnection) -> Result<Option<u32>, SourceError> {
        let captures = state::captures(&self.server, connection, &self.feed).await?;
        Ok(captures.as_deref().and_then(publication_of))
    }

    /// Checks that the publication is the one that the feed began with. One that was dropped and made anew lacks what was
    /// written in between, and PostgreSQL 18 passes over that in silence.
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

    pub(super) async fn slot(
        &self,
        connection: &mut PgConnection,
        state: &ServerState,
    ) -> Result<Option<Slot>, SourceError> {
        Slot::read(&self.server, connection, state.version, &self.slot).await
    }

    async fn check_tables(
        &self,
        connection: &mut PgConnection,
        publication: &Publication,
        state: &ServerState,
    ) -> Result<(), SourceError> {
        let tables = CapturedTable::read_all(&self.server, connection, &self.selection.published()).await?;
        check_tables(&self.selection, &tables, publication, state.version)
    }

    async fn publication(
        &self,
        connection: &mut PgConnection,
        state: &ServerState,
    ) -> Result<Option<Publication>, SourceError> {
        let tables = self.selection.published();
        Publication::read(&self.server, connection, state.version, &self.publication, &tables).await
    }

    /// The comment that marks a publication as this feed's own: others are not altered.
    fn comment(&self) -> String {
        format!("made by the change feed {}", self.feed)
    }

    fn is_own(&self, publication: &Publication) -> bool {
        publication.comment.as_deref() == Some(&self.comment())
    }

    /// Runs what only the tables' owner may.
    async fn run_as_owner(&self, connection: &mut PgConnection, script: &str) -> Result<(), SourceError> {
        let run = async { Ok(connection.execute(sqlx::raw_sql(AssertSqlSafe(script.to_owned()))).await) };
        match self.server.answer(run).await? {
            Ok(_) => Ok(()),
            Err(error) if sqlstate::is_privilege_missing(&error) => Err(unfit(
                format!("the feed's role may not alter its publication ({error})"),
                format!("let the tables' owner run: {script}"),
            )),
            Err(other) => self.server.answer(async { Err(other) }).await,
        }
    }

    /// Opens a replication connection to the server that answered last, and checks that it is the same server: behind a name
    /// that moves it may be another one.
    pub(super) async fn replication_connection(
        &self,
        state: &ServerState,
    ) -> Result<ReplicationConnection, SourceError> {
        let options = self.replication.get(self.server.current_address()).or(self.replication.first());
        let options = options.ok_or_else(|| SourceError::transient("the URL names no address"))?;
        let mut replication = ReplicationConnection::connect(options).await.map_err(classify)?;
        let system = replication.identify_system().await.map_err(classify)?;
        state.check_same_server(&system.identifier, system.timeline)?;
        replication.query(WALSENDER_SETTINGS).await.map_err(classify)?;
        Ok(replication)
    }
}

/// Maps an error of the replication protocol to what the feed does about it.
pub(super) fn classify(error: ReplicationError) -> SourceError {
    let text = error.server_error().map_or_else(|| error.to_string(), ToString::to_string);
    match &error {
        ReplicationError::Denied(_) => {
            unfit(text, "let an administrator give the feed's role the attribute REPLICATION")
        }
        ReplicationError::PublicationMissing(_) | ReplicationError::SlotMissing(_) => {
            unfit(text, "somebody dropped what the feed reads: start the feed anew under a new name")
        }
        ReplicationError::Prerequisite(_) => {
            unfit(text, "correct what the server names; if the slot was invalidated, start a feed under a new name")
        }
        ReplicationError::Authentication { .. } | ReplicationError::Tls { .. } | ReplicationError::Unusable(_) => {
            SourceError::Fatal {
                what: "the database refused the feed".to_owned(),
                remedy:
                    "correct the database's URL, the role's password or the server's pg_hba.conf (the feed's role must \
                         be let in for replication too)"
                        .to_owned(),
                source: Some(Box::new(error)),
            }
        }
        ReplicationError::Refused(refusal) => match sqlstate::remedy(refusal.sqlstate()) {
            Some(remedy) => unfit(text, remedy),
            None => SourceError::transient(error),
        },
        _ => SourceError::transient(error),
    }
}
