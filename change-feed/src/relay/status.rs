//! What a relay is doing, for those who watch it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::retries::Retry;
use crate::feed::position::Position;

/// What a relay is doing and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayStatus {
    /// What it is doing.
    pub state: RelayState,
    /// Everything through this position is published; the origin before the relay knows better.
    pub position: Position,
    /// How many envelopes this relay has published, repetitions after a failure included.
    pub envelopes: u64,
    /// In how many parts.
    pub parts: u64,
    /// How many of the envelopes were withheld stubs.
    pub withheld: u64,
    /// The bytes that are captured and not published.
    pub pending_bytes: usize,
    /// The last error, with its causes; it stays after the recovery.
    pub last_error: Option<String>,
}

/// What a relay is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayState {
    /// Waiting to become the one active relay of its feed.
    Standby,
    /// Elected, and finding out where to go on.
    Starting,
    /// Capturing and publishing, or waiting for changes.
    Running,
    /// Elected, and told to [pause](RelayHandle::pause).
    Paused,
    /// Waiting before it tries again, after a transient error.
    Retrying {
        /// 1 for the first retry since the last success.
        attempt: u32,
        /// When the first failure since the last success happened.
        since: DateTime<Utc>,
    },
    /// Not running: not yet, or not any more.
    Stopped,
}

/// Watches a relay and pauses it. Cheap to clone; outlives the relay.
#[derive(Debug, Clone)]
pub struct RelayHandle {
    status: watch::Receiver<RelayStatus>,
    paused: Arc<watch::Sender<bool>>,
}

impl RelayHandle {
    /// What the relay is doing now.
    pub fn status(&self) -> RelayStatus {
        self.status.borrow().clone()
    }

    /// Waits for a status that `wanted` accepts, and returns it; or the last one, if the relay is
    /// dropped before. Dropping the future loses nothing.
    pub async fn wait_until(&self, wanted: impl FnMut(&RelayStatus) -> bool) -> RelayStatus {
        let mut status = self.status.clone();
        match status.wait_for(wanted).await {
            Ok(reached) => reached.clone(),
            Err(_) => self.status(),
        }
    }

    /// Captures and publishes nothing more until [`resume`](RelayHandle::resume), from the next
    /// complete end on. The relay stays elected, and still acknowledges what it has published.
    pub fn pause(&self) {
        self.paused.send_replace(true);
    }

    /// Goes on after a [`pause`](RelayHandle::pause).
    pub fn resume(&self) {
        self.paused.send_replace(false);
    }
}

/// The relay's own end of its status. When it is dropped the relay is stopped.
#[derive(Debug)]
pub(super) struct Board {
    status: watch::Sender<RelayStatus>,
    paused: Arc<watch::Sender<bool>>,
}

impl Board {
    pub(super) fn new() -> Self {
        let status = RelayStatus {
            state: RelayState::Stopped,
            position: Position::ORIGIN,
            envelopes: 0,
            parts: 0,
            withheld: 0,
            pending_bytes: 0,
            last_error: None,
        };
        Self { status: watch::Sender::new(status), paused: Arc::new(watch::Sender::new(false)) }
    }

    pub(super) fn handle(&self) -> RelayHandle {
        RelayHandle { status: self.status.subscribe(), paused: Arc::clone(&self.paused) }
    }

    pub(super) fn pause(&self) -> watch::Receiver<bool> {
        self.paused.subscribe()
    }

    pub(super) fn position(&self) -> Position {
        self.status.borrow().position.clone()
    }

    pub(super) fn enter(&self, state: RelayState) {
        self.status.send_if_modified(|status| {
            let changed = status.state != state;
            status.state = state;
            changed
        });
    }

    pub(super) fn resumed(&self, position: &Position) {
        self.status.send_modify(|status| {
            status.position = position.clone();
            status.pending_bytes = 0;
        });
    }

    pub(super) fn pending(&self, pending_bytes: usize) {
        self.status.send_modify(|status| status.pending_bytes = pending_bytes);
    }

    pub(super) fn published(
        &self,
        envelopes: usize,
        withheld: usize,
        position: Option<&Position>,
        pending_bytes: usize,
    ) {
        self.status.send_modify(|status| {
            status.envelopes += envelopes as u64;
            status.withheld += withheld as u64;
            status.parts += 1;
            status.pending_bytes = pending_bytes;
            if let Some(position) = position {
                status.position = position.clone();
            }
        });
    }

    pub(super) fn failed(&self, error: String) {
        self.status.send_modify(|status| status.last_error = Some(error));
    }

    pub(super) fn retrying(&self, retry: Retry, error: String) {
        self.status.send_modify(|status| {
            status.state = RelayState::Retrying { attempt: retry.attempt, since: retry.since };
            status.pending_bytes = 0;
            status.last_error = Some(error);
        });
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.enter(RelayState::Stopped);
    }
}
