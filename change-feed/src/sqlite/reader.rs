//! Reads an outbox by its sequence.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row as _, ValueRef as _};
use uuid::Uuid;

use super::database::classify;
use crate::feed::change::Change;
use crate::feed::event::{EventId, EventRecord};
use crate::feed::mismatch::Mismatch;
use crate::feed::part::Changes;
use crate::feed::position::Position;
use crate::outbox::dialect::Dialect;
use crate::outbox::event_types::EventTypes;
use crate::outbox::table::Outbox;
use crate::source::SourceError;

/// The letter of this kind of source in a position.
const KIND: char = 's';

/// Limits of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most rows.
    pub(super) page_rows: u32,
    /// A page ends with the row that takes its payloads to this size.
    pub(super) page_bytes: usize,
}

/// Reads an outbox by its sequence.
pub(super) struct Reader {
    select: Arc<str>,
    event_at: Arc<str>,
    limits: Limits,
    outbox: Arc<str>,
    event_types: EventTypes,
    /// The sequence of the last row that was given; `None` until the start.
    last_sequence: Option<i64>,
}

impl Reader {
    /// A reader of this outbox. One that the guard did not make may lack the column `baseline`.
    pub(super) fn new(outbox: &Outbox, limits: Limits, has_baseline: bool) -> Self {
        let (table, key) = (outbox.qualified(Dialect::Sqlite), outbox.quoted_key_column());
        let baseline = if has_baseline { "baseline" } else { "false" };
        let select = format!(
            "select sequence, event_id, {key}, version, event_type, payload, occurred_at, traceparent, {baseline}
            from {table} where sequence > ?1 order by sequence limit ?2"
        );
        let event_at = format!("select event_id from {table} where sequence = ?1");
        Self {
            select: Arc::from(select),
            event_at: Arc::from(event_at),
            limits,
            outbox: Arc::from(outbox.table()),
            event_types: EventTypes::of(outbox),
            last_sequence: None,
        }
    }

    /// Starts after `position`, if this file reaches it.
    pub(super) async fn start(&mut self, pool: &SqlitePool, position: &Position) -> Result<(), SourceError> {
        if !position.is_origin() && position.kind() != Some(KIND) {
            return Err(SourceError::Closed(Mismatch::made_by_another_kind(position, "sqlite")));
        }
        let highest = highest_ever(pool, &self.outbox).await?;
        if position.major() > highest || self.has_another_event_at(pool, position).await? {
            return Err(SourceError::Closed(Mismatch::SourceBehind {
                position: position.clone(),
                source_end: Position::new(KIND, highest, 0),
            }));
        }
        self.last_sequence = Some(signed(position.major()));
        Ok(())
    }

    /// Whether another event has the sequence of the last one: in a copy that was restored and has grown since. If the event
    /// was pruned, this can't be told.
    async fn has_another_event_at(&self, pool: &SqlitePool, position: &Position) -> Result<bool, SourceError> {
        let asked = sqlx::query(sqlx::AssertSqlSafe(&*self.event_at)).bind(signed(position.major()));
        let found = asked.fetch_optional(pool).await.map_err(classify)?;
        let found = found.map(|row| uuid(&row, 0)).transpose().map_err(classify)?;
        Ok(position.minor() != 0 && found.is_some_and(|event_id| event_bits(event_id) != position.minor()))
    }

    /// Reads the next page. The progress moves with [`Reader::advance`].
    pub(super) async fn poll(&mut self, pool: &SqlitePool) -> Result<Option<Changes>, SourceError> {
        let after = self.last_sequence.ok_or_else(|| SourceError::transient("the source has not been started"))?;
        let mut changes = Vec::new();
        let mut last = None;
        let mut bytes = 0;
        let query = sqlx::query(sqlx::AssertSqlSafe(&*self.select)).bind(after).bind(self.limits.page_rows);
        let mut rows = query.fetch(pool);
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            let (sequence, event) = capture(&row, &self.outbox, &mut self.event_types).map_err(classify)?;
            bytes += event.payload.len();
            last = Some(Position::new(KIND, sequence, event_bits(*event.event_id.as_uuid())));
            changes.push(Change::event(Position::new(KIND, sequence, 0), event));
            if bytes >= self.limits.page_bytes {
                break;
            }
        }
        Ok(last.map(|last| Changes::complete(changes, last)))
    }

    /// Moves past the changes of a poll, which the caller now gives.
    pub(super) fn advance(&mut self, given: &Changes) {
        if let Some(position) = given.end.position() {
            self.last_sequence = Some(signed(position.major()));
        }
    }
}

/// Checks that the outbox can be read by its sequence. Returns whether it has the column `baseline`.
pub(super) async fn inspect(pool: &SqlitePool, outbox: &Outbox) -> Result<bool, SourceError> {
    let asked =
        sqlx::query_scalar("select sql from sqlite_schema where type = 'table' and name = ?1").bind(outbox.table());
    let definition: Option<String> = asked.fetch_optional(pool).await.map_err(classify)?;
    let Some(definition) = definition else {
        return Err(SourceError::fatal(
            format!("outbox {} does not exist in this database", outbox.table()),
            "install it (see change_feed::outbox::Guard), or name the right file and table",
        ));
    };
    if !definition.to_ascii_lowercase().contains("autoincrement") {
        return Err(SourceError::fatal(
            format!(
                "outbox {}: its sequence is not an AUTOINCREMENT key, so SQLite may use a number twice",
                outbox.table()
            ),
            "let change_feed::outbox::Guard make the outbox",
        ));
    }
    let column = "select exists (select 1 from pragma_table_info(?1) where name = 'baseline')";
    sqlx::query_scalar(column).bind(outbox.table()).fetch_one(pool).await.map_err(classify)
}

/// Reads the highest sequence that the table ever used, even if that row was deleted.
pub(super) async fn highest_ever(pool: &SqlitePool, table: &str) -> Result<u64, SourceError> {
    let asked = sqlx::query_scalar("select seq from sqlite_sequence where name = ?1").bind(table);
    let highest: Option<i64> = asked.fetch_optional(pool).await.map_err(classify)?;
    Ok(highest.map_or(0, |sequence| u64::try_from(sequence).unwrap_or_default()))
}

fn capture(
    row: &SqliteRow,
    outbox: &Arc<str>,
    event_types: &mut EventTypes,
) -> Result<(u64, EventRecord), sqlx::Error> {
    let number = |column| -> Result<u64, sqlx::Error> {
        let number: i64 = row.try_get(column)?;
        u64::try_from(number).map_err(|error| sqlx::Error::Decode(error.into()))
    };
    let traceparent: Option<&str> = row.try_get(7)?;
    let event_id = uuid(row, 1)?;
    let event = EventRecord {
        outbox: Arc::clone(outbox),
        event_id: EventId::new(event_id),
        key: key(row, 2)?,
        version: number(3)?,
        event_type: event_types.get(row.try_get(4)?),
        payload: Bytes::copy_from_slice(row.try_get_unchecked::<&[u8], _>(5)?),
        occurred_at: row.try_get(6).map_err(|source| no_such_time(event_id, source))?,
        traceparent: traceparent.map(Arc::from),
        baseline: row.try_get(8)?,
    };
    Ok((number(0)?, event))
}

fn no_such_time(event_id: Uuid, source: sqlx::Error) -> sqlx::Error {
    sqlx::Error::Decode(format!("event {event_id}: invalid occurred_at: {source}").into())
}

/// The last 64 bits of an event's id, which are random in a UUID of version 4 or 7 and never 0. They distinguish the event at
/// the end of a run from others.
fn event_bits(event_id: Uuid) -> u64 {
    event_id.as_u64_pair().1
}

/// SQLite has no unsigned integers, and a sequence counts from 1: no value is cut off.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads a UUID, stored as text or as sixteen bytes.
fn uuid(row: &SqliteRow, column: usize) -> Result<Uuid, sqlx::Error> {
    let stored: &[u8] = row.try_get_unchecked(column)?;
    let parsed = if stored.len() == 16 { Uuid::from_slice(stored) } else { Uuid::try_parse_ascii(stored) };
    parsed.map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Reads a key as text, whichever type the column has.
fn key(row: &SqliteRow, column: usize) -> Result<Arc<str>, sqlx::Error> {
    let kind = row.try_get_raw(column)?.type_info().to_string();
    if kind == "BLOB" {
        return uuid(row, column).map(|id| Arc::from(id.to_string()));
    }
    row.try_get_unchecked::<&str, _>(column).map(Arc::from)
}
