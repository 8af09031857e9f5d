//! An event that is still to be committed.

use std::sync::Arc;

use bytes::Bytes;

/// An event to be committed in a [`MemoryDatabase`](crate::memory::database::MemoryDatabase), which gives it its version, id and time.
#[derive(Debug, Clone)]
pub struct MemoryEvent {
    pub(super) key: Arc<str>,
    pub(super) event_type: Arc<str>,
    pub(super) payload: Bytes,
}

impl MemoryEvent {
    /// An event of the aggregate with this key, of type `memory.changed.v1` and with the payload `{}`.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Self { key: key.into(), event_type: Arc::from("memory.changed.v1"), payload: Bytes::from_static(b"{}") }
    }

    /// Of this type.
    #[must_use]
    pub fn event_type(self, event_type: impl Into<Arc<str>>) -> Self {
        Self { event_type: event_type.into(), ..self }
    }

    /// With this payload (JSON).
    #[must_use]
    pub fn payload(self, payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..self }
    }
}

impl From<&str> for MemoryEvent {
    fn from(key: &str) -> Self {
        Self::new(key)
    }
}

impl From<String> for MemoryEvent {
    fn from(key: String) -> Self {
        Self::new(key)
    }
}
