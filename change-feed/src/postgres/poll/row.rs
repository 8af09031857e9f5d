//! A row of an outbox as the server sends it.

use std::num::ParseIntError;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::feed::event::{EventId, EventRecord};
use crate::outbox::event_types::EventTypes;

/// A row of an outbox.
pub(super) struct OutboxRow {
    pub(super) sequence: u64,
    pub(super) transaction: u64,
    pub(super) event: EventRecord,
}

/// What a row holds that no event can.
#[derive(Debug, thiserror::Error)]
#[error("event {event_id} happened at a time outside the years 1 to 9999")]
struct NoSuchTime {
    event_id: Uuid,
}

impl OutboxRow {
    /// Reads the columns of [`Statements`](super::statements::Statements); `None` for the row that only tells the
    /// number of others.
    pub(super) fn read(
        row: &PgRow,
        outbox: &Arc<str>,
        event_types: &mut EventTypes,
    ) -> Result<Option<Self>, sqlx::Error> {
        let Some(sequence) = row.try_get::<Option<i64>, _>(1)? else {
            return Ok(None);
        };
        let event_id: Uuid = row.try_get(2)?;
        let occurred_at: Option<DateTime<Utc>> = row.try_get(7)?;
        let event = EventRecord {
            outbox: Arc::clone(outbox),
            event_id: EventId::new(event_id),
            key: Arc::from(row.try_get::<&str, _>(3)?),
            version: unsigned(row.try_get(4)?),
            event_type: event_types.get(row.try_get(5)?),
            payload: Bytes::copy_from_slice(row.try_get::<&str, _>(6)?.as_bytes()),
            occurred_at: occurred_at.ok_or_else(|| sqlx::Error::Decode(NoSuchTime { event_id }.into()))?,
            traceparent: row.try_get::<Option<&str>, _>(8)?.map(Arc::from),
            baseline: row.try_get(10)?,
        };
        let transaction = transaction_id(row, 9)?.unwrap_or_default();
        Ok(Some(Self { sequence: unsigned(sequence), transaction, event }))
    }
}

/// An `xid8`, which the server sends as text.
pub(super) fn transaction_id(row: &PgRow, column: usize) -> Result<Option<u64>, sqlx::Error> {
    let text: Option<&str> = row.try_get(column)?;
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|error: ParseIntError| sqlx::Error::Decode(error.into()))
}

/// PostgreSQL has no unsigned integers, and an outbox counts from 1: nothing is cut off in either direction.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// See [`signed`].
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
