//! An event as a CloudEvent in Kafka's binary content mode: attributes as headers, the payload as it is.

use std::sync::Arc;

use bytes::Bytes;

use super::header::{Headers, name};
use crate::feed::event::EventRecord;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct CloudEvent {
    pub(super) source: Arc<str>,
    pub(super) event: EventRecord,
}

impl CloudEvent {
    pub(super) fn withhold(&mut self) {
        self.event.payload = Bytes::new();
        self.event.traceparent = None;
    }

    pub(super) fn size_bytes(&self) -> usize {
        /// Fifteen headers with their names and values, measured on a typical order event.
        const HEADERS_BYTES: usize = 420;
        let EventRecord { payload, key, event_type, traceparent, .. } = &self.event;
        let traceparent = traceparent.as_ref().map_or(0, |text| text.len());
        payload.len() + key.len() + event_type.len() + traceparent + HEADERS_BYTES
    }

    pub(super) fn write_attributes(&self, headers: &mut Headers<'_>, has_data: bool) {
        let EventRecord { event_id, key, version, event_type, occurred_at, traceparent, .. } = &self.event;
        headers.write(name::CE_SPECVERSION, "1.0");
        headers.show(name::CE_ID, event_id);
        headers.write(name::CE_TYPE, event_type);
        headers.write(name::CE_SOURCE, &self.source);
        headers.write(name::CE_SUBJECT, key);
        headers.time(name::CE_TIME, *occurred_at);
        if has_data {
            headers.write(name::CONTENT_TYPE, "application/json");
        }
        if let Some(traceparent) = traceparent {
            headers.write(name::TRACEPARENT, traceparent);
        }
        headers.show(name::VERSION, version);
    }
}
