//! A replication slot, and where a feed goes on in it.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::log_position::LogPosition;
use super::selection::quoted;
use super::server_state::{ServerState, lsn};
use crate::feed::mismatch::Mismatch;
use crate::feed::position::Position;
use crate::postgres::mismatch::unfit;
use crate::postgres::server::Server;
use crate::source::SourceError;
use postgres_replication::Lsn;

/// The plug-in that this source reads.
const PLUGIN: &str = "pgoutput";

/// A replication slot.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// `None` of a slot for physical replication.
    pub(super) plugin: Option<String>,
    pub(super) database: Option<String>,
    /// The server's process that reads it.
    pub(super) active_pid: Option<i32>,
    /// The application name of that process.
    pub(super) active_name: Option<String>,
    /// `None` while the slot is being made: it waits for the transactions that were open then.
    pub(super) confirmed: Option<Lsn>,
    pub(super) wal_status: Option<String>,
    /// Why the server invalidated it, where it gives a reason.
    pub(super) invalidated: Option<String>,
}

impl Slot {
    /// Reads the slot of this name.
    pub(super) async fn read(
        server: &Server,
        connection: &mut PgConnection,
        version: i32,
        name: &str,
    ) -> Result<Option<Self>, SourceError> {
        let invalidated = match version {
            170_000.. => "s.invalidation_reason::text",
            160_000.. => "case when s.conflicting then 'a conflict with recovery' end",
            _ => "null::text",
        };
        let statement = format!(
            "select s.plugin::text, s.database::text, s.active_pid, a.application_name, s.confirmed_flush_lsn::text,
                s.wal_status, {invalidated}
            from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid where s.slot_name = $1"
        );
        let query = sqlx::query(AssertSqlSafe(statement)).bind(name);
        let read = |row: PgRow| {
            Ok(Self {
                plugin: row.try_get(0)?,
                database: row.try_get(1)?,
                active_pid: row.try_get(2)?,
                active_name: row.try_get(3)?,
                confirmed: lsn(&row, 4)?,
                wal_status: row.try_get(5)?,
                invalidated: row.try_get(6)?,
            })
        };
        server.answer(async { query.fetch_optional(connection).await?.map(read).transpose() }).await
    }

    /// Whether the server still makes the slot: it waits for transactions that were open when that began. The slot is gone if
    /// the process that makes it ends.
    pub(super) fn is_unfinished(&self) -> bool {
        self.plugin.is_some() && self.confirmed.is_none() && self.invalidated.is_none()
    }

    /// Checks that this feed can read the slot.
    pub(super) fn check(&self, name: &str, server: &ServerState) -> Result<(), SourceError> {
        let name = quoted(name);
        match self.plugin.as_deref() {
            Some(PLUGIN) => {}
            other => {
                let what =
                    other.map_or("for physical replication".to_owned(), |plugin| format!("of the plug-in {plugin}"));
                return Err(unfit(
                    format!("the replication slot {name} is {what}"),
                    format!("give the feed a slot of its own, of the plug-in {PLUGIN}"),
                ));
            }
        }
        if self.database.as_deref() != Some(&server.database) {
            let other = self.database.as_deref().unwrap_or_default();
            return Err(unfit(
                format!("the replication slot {name} belongs to the database {other:?}, not to {:?}", server.database),
                "give the feed a slot of its own, or the address of the other database",
            ));
        }
        Ok(())
    }
}

/// Where the feed goes on in this slot, if the slot still gives everything after its position.
pub(super) fn place_in(
    slot_name: &str,
    slot: Option<&Slot>,
    server: &ServerState,
    after: &Position,
) -> Result<LogPosition, SourceError> {
    let name = quoted(slot_name);
    let gone = |detail: String| SourceError::Closed(Mismatch::SourceGone { position: after.clone(), detail });
    let Some(slot) = slot else {
        return Err(gone(format!("the replication slot {name} is missing")));
    };
    slot.check(slot_name, server)?;
    let lost = slot.wal_status.as_deref() == Some("lost");
    if let Some(reason) = slot.invalidated.as_deref().or(lost.then_some("its log was removed")) {
        return Err(gone(format!("the server invalidated the replication slot {name}: {reason}")));
    }
    let Some(confirmed) = slot.confirmed else {
        return Err(SourceError::transient(format!(
            "the replication slot {name} is being made: it waits for the transactions that were open when that began"
        )));
    };
    if after.is_origin() {
        return Ok(LogPosition::between(confirmed, server.timeline));
    }
    let place = LogPosition::from_position(after).ok_or_else(|| Mismatch::made_by_another_kind(after, super::KIND))?;
    if place.lsn > server.flushed {
        let source_end = LogPosition::between(server.flushed, server.timeline).position();
        return Err(SourceError::Closed(Mismatch::SourceBehind { position: after.clone(), source_end }));
    }
    if confirmed > place.lsn {
        return Err(gone(format!(
            "the replication slot {name} begins at {confirmed}, after {}: it was made anew, or somebody else moved it",
            place.lsn
        )));
    }
    Ok(place)
}

/// Whether a timeline that the server came from left the feed's before the feed's position: `history` is the content of
/// the server's timeline history file.
///
/// Its lines are: the parent timeline, where it was left, and why (*Timelines* in PostgreSQL's documentation).
pub(super) fn left_before(history: &str, place: &LogPosition) -> bool {
    let switches = history.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let timeline: u32 = words.next()?.parse().ok()?;
        Some((timeline, words.next()?.parse::<Lsn>().ok()?))
    });
    match switches.into_iter().find(|(timeline, _)| *timeline == place.timeline) {
        Some((_, left_at)) => left_at < place.lsn,
        // The server does not come from that timeline at all.
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_that_was_left_after_the_position_is_the_feeds_own_past() {
        let history = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000000\tbefore 2026-11-23\n";
        let at = |timeline, lsn| LogPosition::between(Lsn::new(lsn), timeline);
        assert!(!left_before(history, &at(1, 0x300_0000)));
        assert!(left_before(history, &at(1, 0x300_0001)));
        assert!(!left_before(history, &at(2, 0x4ff_ffff)));
        assert!(left_before(history, &at(7, 1)));
    }
}
