//! Reads back from the broker what was published there, as any consumer would.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use change_feed::kafka::{KafkaReader, ReaderError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bookmark::Bookmark;
use crate::broker::Broker;
use crate::console::chain;

use crate::journal::{HeardEvent, Journal};

/// How many offsets before the end of each partition a topic with a history is read from.
const RECENT_OFFSETS: u64 = 50;
/// The pause until the listener looks again for a topic that the relay has not made yet.
const MISSING_INTERVAL: Duration = Duration::from_millis(100);
/// The pause after an error of the broker.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// A reader remembers each key that it has seen. With this number of keys it is replaced by a new one.
const KEYS_MAX: usize = 100_000;

/// Reads a topic into a journal, whatever happens to the broker.
#[derive(Debug)]
pub(crate) struct Listener {
    broker: Broker,
    topic: String,
    journal: Journal,
    /// How many times the topic was replaced by another one.
    restarts: u32,
}

impl Listener {
    /// A listener to this topic.
    pub(crate) fn new(broker: Broker, topic: impl Into<String>, journal: Journal) -> Self {
        Self { broker, topic: topic.into(), journal, restarts: 0 }
    }

    /// Listens until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.listen() => {}
        }
    }

    async fn listen(&mut self) {
        let mut place = None;
        loop {
            let Err(error) = self.read(&mut place).await;
            let pause = match &error {
                ReaderError::NoTopic(_) => MISSING_INTERVAL,
                ReaderError::Gone { .. } | ReaderError::Repartitioned { .. } => {
                    // Deleted and made again: its offsets begin anew, and no bookmark of before means anything.
                    self.restarts += 1;
                    place = None;
                    RETRY_INTERVAL
                }
                _ => RETRY_INTERVAL,
            };
            tracing::warn!(target: "storefront::listener", error = chain(&error), "reading back is interrupted");
            self.journal.report(Some(chain(&error)));
            sleep(pause).await;
        }
    }

    /// Reads on from a place, until the reader has to be replaced.
    async fn read(&self, place: &mut Option<BTreeMap<u32, u64>>) -> Result<std::convert::Infallible, ReaderError> {
        loop {
            let mut reader = self.open(place.as_ref()).await?;
            if place.is_none() {
                self.journal.begin_at(self.bookmark(&reader));
            }
            self.journal.report(None);
            while reader.progress().len() < KEYS_MAX {
                let was_there = !reader.is_at_end();
                match reader.take_next().await {
                    Ok(received) if was_there => self.journal.append(HeardEvent::of_before(received)),
                    Ok(received) => self.journal.append(HeardEvent::now(received)),
                    Err(ReaderError::Record(error)) => {
                        tracing::warn!(target: "storefront::listener", %error, "a record is not an event of a feed");
                    }
                    Err(error) => {
                        *place = Some(reader.offsets());
                        return Err(error);
                    }
                }
            }
            *place = Some(reader.offsets());
        }
    }

    async fn open(&self, place: Option<&BTreeMap<u32, u64>>) -> Result<KafkaReader, ReaderError> {
        let builder = KafkaReader::builder(self.broker.bootstrap_servers(), self.topic.as_str());
        let builder = match place {
            Some(offsets) => builder.from_offsets(offsets.clone()),
            // It holds nothing but what this process has published.
            None if self.broker.is_development() => builder,
            None => builder.from_recent(RECENT_OFFSETS),
        };
        builder.open().await
    }

    fn bookmark(&self, reader: &KafkaReader) -> Bookmark {
        let mut hasher = DefaultHasher::new();
        (self.broker.instance(), &self.topic, self.restarts).hash(&mut hasher);
        let mut bookmark = Bookmark::at_the_beginning_of(&format!("{:08x}", hasher.finish() as u32));
        for (partition, next_offset) in reader.offsets() {
            bookmark.advance(partition, next_offset);
        }
        bookmark
    }
}
