//! The server: its version, identity and place in the log, and whether it can be captured from.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::selection::quoted;
use crate::postgres::mismatch::unfit;
use crate::postgres::server::{STANDBY_REMEDY, Server, standby};
use crate::source::SourceError;
use postgres_replication::Lsn;

/// The server, as it describes itself.
#[derive(Debug, Clone)]
pub(super) struct ServerState {
    /// `server_version_num`: 180001 is 18.1.
    pub(super) version: i32,
    pub(super) system: String,
    pub(super) database: String,
    pub(super) database_oid: String,
    pub(super) role: String,
    pub(super) in_recovery: bool,
    pub(super) wal_level: String,
    pub(super) may_replicate: bool,
    pub(super) timeline: u32,
    /// Everything before this place is on the disk.
    pub(super) flushed: Lsn,
    pub(super) next_transaction: u64,
}

/// Managed services give the right to replicate by membership in a role of theirs.
const SERVER: &str = "select current_setting('server_version_num')::int, pg_is_in_recovery(),
    (select system_identifier::text from pg_control_system()),
    current_database()::text, (select oid::text from pg_database where datname = current_database()), current_user::text,
    current_setting('wal_level'),
    (select rolreplication or rolsuper from pg_roles where rolname = current_user)
        or exists (select from pg_roles where rolname = 'rds_replication' and pg_has_role(current_user, oid, 'member')),
    case when pg_is_in_recovery() then null else pg_walfile_name(pg_current_wal_lsn()) end,
    case when pg_is_in_recovery() then null else pg_current_wal_flush_lsn()::text end,
    pg_snapshot_xmax(pg_current_snapshot())::text";

impl ServerState {
    /// Reads it.
    pub(super) async fn read(server: &Server, connection: &mut PgConnection) -> Result<Self, SourceError> {
        server
            .answer(async {
                let row = sqlx::query(SERVER).fetch_one(connection).await?;
                let log_file: Option<&str> = row.try_get(8)?;
                let timeline = log_file.and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok());
                Ok(Self {
                    version: row.try_get(0)?,
                    in_recovery: row.try_get(1)?,
                    system: row.try_get(2)?,
                    database: row.try_get(3)?,
                    database_oid: row.try_get(4)?,
                    role: row.try_get(5)?,
                    wal_level: row.try_get(6)?,
                    may_replicate: row.try_get::<Option<bool>, _>(7)?.unwrap_or_default(),
                    timeline: timeline.unwrap_or_default(),
                    flushed: lsn(&row, 9)?.unwrap_or_default(),
                    next_transaction: parsed(&row, 10)?.unwrap_or_default(),
                })
            })
            .await
    }

    /// Reads it of a feed that has begun: a standby is a server that is failed over to, or away from, which passes.
    pub(super) async fn read_primary(server: &Server, connection: &mut PgConnection) -> Result<Self, SourceError> {
        let state = Self::read(server, connection).await?;
        match state.in_recovery {
            true => Err(standby()),
            false => Ok(state),
        }
    }

    /// Checks that another connection reached the same server.
    pub(super) fn check_same_server(&self, system: &str, timeline: u32) -> Result<(), SourceError> {
        if self.system == system && self.timeline == timeline {
            return Ok(());
        }
        Err(SourceError::transient(format!(
            "two connections to the feed's address reached two servers: system {}, timeline {}, and system {system}, timeline \
             {timeline}; both are opened again",
            self.system, self.timeline
        )))
    }

    /// Checks that changes can be captured from it.
    pub(super) fn check(&self) -> Result<(), SourceError> {
        if self.version < 140_000 {
            return Err(unfit(
                format!("this server is PostgreSQL {}", self.version / 10_000),
                "use PostgreSQL 14 or later",
            ));
        }
        if self.in_recovery {
            return Err(unfit("this server is a standby", STANDBY_REMEDY));
        }
        if self.wal_level != "logical" {
            return Err(unfit(
                format!("the server's wal_level is {}, so its log can't be decoded", self.wal_level),
                "let its administrator run: alter system set wal_level = logical; and restart the server",
            ));
        }
        if !self.may_replicate {
            return Err(unfit(
                format!("the role {} may not replicate", quoted(&self.role)),
                format!("let an administrator run: alter role {} replication;", quoted(&self.role)),
            ));
        }
        Ok(())
    }
}

pub(super) fn lsn(row: &PgRow, column: usize) -> Result<Option<Lsn>, sqlx::Error> {
    parsed(row, column)
}

fn parsed<T>(row: &PgRow, column: usize) -> Result<Option<T>, sqlx::Error>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: Option<&str> = row.try_get(column)?;
    text.map(str::parse).transpose().map_err(|error: T::Err| sqlx::Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_server_behind_the_same_address_is_tried_again_and_named() {
        let state = ServerState {
            version: 180_000,
            system: "7581".to_owned(),
            database: "shop".to_owned(),
            database_oid: "16384".to_owned(),
            role: "feed".to_owned(),
            in_recovery: false,
            wal_level: "logical".to_owned(),
            may_replicate: true,
            timeline: 3,
            flushed: Lsn::new(1),
            next_transaction: 1,
        };
        assert!(state.check_same_server("7581", 3).is_ok());
        for (system, timeline) in [("7582", 3), ("7581", 4)] {
            let error = state.check_same_server(system, timeline).expect_err("another server");
            let SourceError::Transient(cause) = error else { panic!("{error}") };
            assert!(cause.to_string().contains("reached two servers") && cause.to_string().contains(system), "{cause}");
        }
    }
}
