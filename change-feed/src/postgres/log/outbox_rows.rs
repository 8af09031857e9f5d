//! Rows of an outbox, read as events.

use std::str;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::capture_fault::CaptureFault;
use super::keeping::Keeping;
use crate::feed::event::{EventId, EventRecord};
use crate::outbox::event_types::EventTypes;
use crate::outbox::table::Outbox;
use crate::postgres::value::moment;
use postgres_replication::Lsn;
use postgres_replication::pgoutput::Relation;
use postgres_replication::pgoutput::{Datum, Tuple};

/// Where an outbox's columns stand in its rows.
#[derive(Debug)]
pub(super) struct OutboxRows {
    name: Arc<str>,
    fields: Box<[Option<Field>]>,
    types: EventTypes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    EventId,
    Key,
    Version,
    EventType,
    Payload,
    OccurredAt,
    TraceParent,
    Baseline,
}

/// Without these a row is no event.
const NEEDED: [Field; 6] =
    [Field::EventId, Field::Key, Field::Version, Field::EventType, Field::Payload, Field::OccurredAt];

impl Field {
    /// The column's name; of the key, the outbox's own.
    fn name(self) -> &'static str {
        match self {
            Self::EventId => "event_id",
            Self::Key => "key",
            Self::Version => "version",
            Self::EventType => "event_type",
            Self::Payload => "payload",
            Self::OccurredAt => "occurred_at",
            Self::TraceParent => "traceparent",
            Self::Baseline => "baseline",
        }
    }

    fn of(column: &str, outbox: &Outbox) -> Option<Self> {
        if column == outbox.key_column() {
            return Some(Self::Key);
        }
        let named = [
            Self::EventId,
            Self::Version,
            Self::EventType,
            Self::Payload,
            Self::OccurredAt,
            Self::TraceParent,
            Self::Baseline,
        ];
        named.into_iter().find(|field| field.name() == column)
    }
}

/// The values of a row, where they are not null.
#[derive(Default)]
struct Values<'a> {
    event_id: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    event_type: Option<&'a [u8]>,
    payload: Option<&'a [u8]>,
    occurred_at: Option<&'a [u8]>,
    traceparent: Option<&'a [u8]>,
    baseline: Option<&'a [u8]>,
}

impl OutboxRows {
    /// The outbox as the log shows it.
    pub(super) fn of(relation: &Relation, outbox: &Outbox) -> Result<Self, CaptureFault> {
        let name = format!("{}.{}", relation.schema, relation.name);
        let fields: Box<[_]> = relation.columns.iter().map(|column| Field::of(&column.name, outbox)).collect();
        if let Some(missing) = NEEDED.into_iter().find(|field| !fields.contains(&Some(*field))) {
            let column = if missing == Field::Key { outbox.key_column() } else { missing.name() };
            return Err(CaptureFault::OutboxColumn { outbox: name, column: column.to_owned() });
        }
        Ok(Self { name: name.into(), fields, types: EventTypes::of(outbox) })
    }

    /// The event that a row is.
    pub(super) fn event(
        &mut self,
        row: Tuple<'_>,
        keeping: &mut Keeping<'_>,
        commit: Lsn,
    ) -> Result<EventRecord, CaptureFault> {
        let values = self.values(row);
        let Self { name, types, .. } = self;
        let event_id = values.event_id.and_then(|id| Uuid::try_parse_ascii(id).ok());
        let fault =
            |field: Field| CaptureFault::Event { outbox: name.to_string(), event_id, column: field.name(), commit };
        let event_id = event_id.ok_or_else(|| fault(Field::EventId))?;
        let key = values.key.and_then(|key| str::from_utf8(key).ok()).ok_or_else(|| fault(Field::Key))?;
        let version = values.version.and_then(number).ok_or_else(|| fault(Field::Version))?;
        let event_type =
            values.event_type.and_then(|name| str::from_utf8(name).ok()).ok_or_else(|| fault(Field::EventType))?;
        let payload = values.payload.ok_or_else(|| fault(Field::Payload))?;
        let occurred_at: DateTime<Utc> =
            values.occurred_at.and_then(point_in_time).ok_or_else(|| fault(Field::OccurredAt))?;
        let traceparent =
            values.traceparent.map(|it| str::from_utf8(it).map_err(|_| fault(Field::TraceParent))).transpose()?;
        Ok(EventRecord {
            outbox: Arc::clone(name),
            event_id: EventId::new(event_id),
            key: Arc::from(key),
            version,
            event_type: types.get(event_type),
            payload: keeping.keep(payload),
            occurred_at,
            traceparent: traceparent.map(Arc::from),
            baseline: values.baseline == Some(b"t"),
        })
    }

    fn values<'a>(&self, row: Tuple<'a>) -> Values<'a> {
        let mut values = Values::default();
        for (field, datum) in self.fields.iter().zip(row) {
            let (Some(field), Datum::Text(text)) = (field, datum) else {
                continue;
            };
            let value = match field {
                Field::EventId => &mut values.event_id,
                Field::Key => &mut values.key,
                Field::Version => &mut values.version,
                Field::EventType => &mut values.event_type,
                Field::Payload => &mut values.payload,
                Field::OccurredAt => &mut values.occurred_at,
                Field::TraceParent => &mut values.traceparent,
                Field::Baseline => &mut values.baseline,
            };
            *value = Some(text);
        }
        values
    }
}

/// A `timestamptz` in the years 1 to 9999, which no `infinity` is in.
fn point_in_time(text: &[u8]) -> Option<DateTime<Utc>> {
    str::from_utf8(text).ok().and_then(moment::timestamp_tz)
}

/// A version: decimal digits, from 1 on.
fn number(digits: &[u8]) -> Option<u64> {
    let number = str::from_utf8(digits).ok()?.parse().ok()?;
    (number >= 1).then_some(number)
}
