//! Messages that programs write into the log (`pg_logical_emit_message`), read as events.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::capture_fault::CaptureFault;
use super::keeping::Keeping;
use crate::feed::event::{EventId, EventRecord};
use postgres_replication::pgoutput::LogicalMessage;

/// The messages of one prefix.
#[derive(Debug)]
pub(super) struct LogicalMessages {
    prefix: Arc<str>,
}

/// The content of a message. See [`LogicalSourceBuilder::messages`](super::LogicalSourceBuilder::messages).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageContent<'a> {
    event_id: Uuid,
    #[serde(borrow)]
    key: Cow<'a, str>,
    version: u64,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
    occurred_at: Option<DateTime<Utc>>,
    #[serde(borrow)]
    traceparent: Option<Cow<'a, str>>,
}

impl LogicalMessages {
    pub(super) fn with_prefix(prefix: Arc<str>) -> Self {
        Self { prefix }
    }

    /// Whether a message is one of these.
    pub(super) fn has(&self, message: &LogicalMessage<'_>) -> bool {
        *self.prefix == *message.prefix
    }

    /// The event that a message is.
    pub(super) fn event(
        &self,
        message: &LogicalMessage<'_>,
        keeping: &mut Keeping<'_>,
        committed_at: DateTime<Utc>,
    ) -> Result<EventRecord, CaptureFault> {
        let fault = |what: String| CaptureFault::Message { lsn: message.lsn, prefix: self.prefix.to_string(), what };
        let content: MessageContent<'_> =
            serde_json::from_slice(message.content).map_err(|error| fault(place_of(&error)))?;
        if content.version == 0 {
            return Err(fault("versions begin at 1".to_owned()));
        }
        Ok(EventRecord {
            outbox: Arc::clone(&self.prefix),
            event_id: EventId::new(content.event_id),
            key: Arc::from(content.key),
            version: content.version,
            event_type: Arc::from(content.event_type),
            payload: keeping.keep(content.payload.get().as_bytes()),
            occurred_at: content.occurred_at.unwrap_or(committed_at),
            traceparent: content.traceparent.map(Arc::from),
            baseline: false,
        })
    }
}

/// Names the place alone: serde's own error may repeat the message's content.
fn place_of(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a member is missing, unknown or of another type",
        _ => "it is not JSON",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}
