//! Events that a client missed and the journal no longer holds.

use std::sync::Arc;
use std::time::Duration;

use change_feed::kafka::{KafkaReader, ReaderError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::bookmark::Bookmark;
use crate::broker::Broker;
use crate::journal::HeardEvent;

/// How many clients can catch up at a time: each has a Kafka client of its own, with its threads and buffers.
const CATCHING_UP_MAX: usize = 4;
/// A broker that is silent for longer is away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads from the topic what the journal no longer holds.
#[derive(Debug, Clone)]
pub(crate) struct CatchUp {
    broker: Broker,
    topic: String,
    permits: Arc<Semaphore>,
}

/// Why a client can't catch up at present. It comes back and tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatchUpError {
    /// Others are catching up.
    #[error("{CATCHING_UP_MAX} clients are catching up already: come back later")]
    Busy,
    /// The broker doesn't answer.
    #[error("what was missed can't be read from the broker at present")]
    Away,
    /// The topic can't be read from there.
    #[error("what was missed can't be read from the broker")]
    Unreadable(#[from] ReaderError),
}

/// What was missed, event by event.
pub(crate) struct Missed {
    reader: KafkaReader,
    until: Bookmark,
    _permit: OwnedSemaphorePermit,
}

impl CatchUp {
    /// Catches up from this topic.
    pub(crate) fn new(broker: Broker, topic: impl Into<String>) -> Self {
        Self { broker, topic: topic.into(), permits: Arc::new(Semaphore::new(CATCHING_UP_MAX)) }
    }

    /// The events between what a client has seen and a place after that.
    pub(crate) async fn open(&self, seen: &Bookmark, until: &Bookmark) -> Result<Missed, CatchUpError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| CatchUpError::Busy)?;
        let builder = KafkaReader::builder(self.broker.bootstrap_servers(), self.topic.as_str());
        let reader = timeout(ANSWER_TIMEOUT, builder.from_offsets(seen.next_offsets()).open());
        let reader = reader.await.map_err(|_| CatchUpError::Away)??;
        Ok(Missed { reader, until: until.clone(), _permit: permit })
    }
}

impl Missed {
    /// The next event that was missed; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<HeardEvent>, CatchUpError> {
        while !self.is_through() {
            let received = timeout(ANSWER_TIMEOUT, self.reader.next_before_end()).await;
            let received = match received.map_err(|_| CatchUpError::Away)? {
                Err(ReaderError::Record(_)) => continue,
                received => received?,
            };
            let Some(received) = received else {
                return Ok(None);
            };
            self.reader.admit(&received)?;
            // A partition may run ahead of the others: what is past the place comes from the journal.
            if self.until.is_past(received.event.partition(), received.event.offset()) {
                return Ok(Some(HeardEvent::of_before(received)));
            }
        }
        Ok(None)
    }

    fn is_through(&self) -> bool {
        let offsets = self.reader.offsets();
        let next = |partition| offsets.get(&partition).copied().unwrap_or(0);
        self.until.next_offsets().all(|(partition, next_offset)| next(partition) >= next_offset)
    }
}
