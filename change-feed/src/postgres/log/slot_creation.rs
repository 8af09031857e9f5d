//! Making the slot of a new feed, which waits for the transactions that are open.

use std::time::{Duration, Instant};

use sqlx::Executor as _;
use sqlx::postgres::PgConnection;

use super::server_state::ServerState;
use super::setup::{Setup, classify};
use crate::postgres::election::HEARTBEAT_INTERVAL;
use crate::postgres::server::application_name;
use crate::source::SourceError;
use postgres_replication::{NewSlot, ReplicationError};

/// Between two looks at a slot that an earlier process of this feed was making.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Added to the server's own limit before the answer counts as missing.
const GRACE: Duration = Duration::from_secs(5);

/// Makes the server look, while it waits for open transactions, whether its client is still there: it gives the slot up when
/// the client is gone. The second statement starts that clock, which a replication command does not.
const WATCH_CLIENT: &str = "set client_connection_check_interval = 500";
const START_WATCHING: &str = "select 1";

/// Who keeps the slot waiting, the oldest transaction first.
const BLOCKERS: &str = "select string_agg(format('process %s (%s, %s, for %s s)', pid, usename, state,
        extract(epoch from clock_timestamp() - xact_start)::int), ', ' order by xact_start)
    from (select * from pg_catalog.pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()
        order by xact_start limit 3) as oldest";

impl Setup {
    /// Makes the slot of a new feed unless it is there. The slot of a feed that has a position is never made anew: what was
    /// written since would be missing.
    pub(super) async fn make_slot(
        &self,
        connection: &mut PgConnection,
        state: &ServerState,
    ) -> Result<(), SourceError> {
        if self.has_finished_slot(connection, state).await? {
            return Ok(());
        }
        tracing::info!(
            target: "change_feed::source", feed = %self.feed, slot = self.slot,
            "creating the replication slot, which waits for the transactions that are open now"
        );
        let mut replication = self.replication_connection(state).await?;
        let lock_timeout = format!("set lock_timeout = {}", self.slot_wait.as_millis().clamp(1, 2_147_483_647));
        for statement in [lock_timeout.as_str(), WATCH_CLIENT, START_WATCHING] {
            replication.query(statement).await.map_err(classify)?;
        }
        let slot = NewSlot::new(&self.slot).failover(self.failover).wait_limit(self.slot_wait + GRACE);
        let began = Instant::now();
        let created = async {
            let created = replication.create_slot(&slot).await;
            replication.close().await;
            created
        };
        let mut created = std::pin::pin!(created);
        let created = loop {
            tokio::select! {
                created = &mut created => break created,
                // It keeps this session alive as well, which something between might end for its silence.
                () = tokio::time::sleep(HEARTBEAT_INTERVAL) => self.tell_waiting(connection, began).await?,
            }
        };
        let created = match created {
            Err(error) if is_given_up(&error) => return Err(self.still_waiting(connection).await?),
            created => created.map_err(classify)?,
        };
        let from = created.consistent_point;
        tracing::info!(target: "change_feed::source", feed = %self.feed, slot = self.slot, %from, "created");
        Ok(())
    }

    /// Whether the slot is there. One that an earlier process of this feed was making when it ended is given up first.
    async fn has_finished_slot(&self, connection: &mut PgConnection, state: &ServerState) -> Result<bool, SourceError> {
        let began = Instant::now();
        loop {
            let Some(slot) = self.slot(connection, state).await? else {
                return Ok(false);
            };
            if !slot.is_unfinished() {
                return Ok(true);
            }
            if began.elapsed() > self.slot_wait {
                return Err(self.still_waiting(connection).await?);
            }
            if let Some(pid) = slot.active_pid
                && slot.active_name.as_deref() == Some(&application_name(&self.feed))
            {
                let end = sqlx::query("select pg_terminate_backend($1)").bind(pid);
                self.server.answer(connection.execute(end)).await?;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn blockers(&self, connection: &mut PgConnection) -> Result<String, SourceError> {
        let blockers: Option<String> = self.server.answer(sqlx::query_scalar(BLOCKERS).fetch_one(connection)).await?;
        Ok(blockers.unwrap_or_else(|| "none that this role can see".to_owned()))
    }

    async fn tell_waiting(&self, connection: &mut PgConnection, began: Instant) -> Result<(), SourceError> {
        let open = self.blockers(connection).await?;
        let (waited_s, limit_s) = (began.elapsed().as_secs(), self.slot_wait.as_secs());
        tracing::info!(
            target: "change_feed::source", feed = %self.feed, slot = self.slot, waited_s, limit_s, open,
            "the replication slot waits for open transactions to end"
        );
        Ok(())
    }

    /// The slot was given up; nothing is left of it.
    async fn still_waiting(&self, connection: &mut PgConnection) -> Result<SourceError, SourceError> {
        let open = self.blockers(connection).await?;
        Ok(SourceError::transient(format!(
            "the replication slot {:?} could not be made within {} s, since transactions stayed open: {open}; nothing is \
             left of it; end them, or raise slot_wait",
            self.slot,
            self.slot_wait.as_secs()
        )))
    }
}

/// Whether the wait was longer than its limit: the server's, or ours.
fn is_given_up(error: &ReplicationError) -> bool {
    error.sqlstate() == Some("55P03") || matches!(error, ReplicationError::Transient { source: None, .. })
}
