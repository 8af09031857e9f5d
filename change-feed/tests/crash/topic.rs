//! The topic, read again and again.

use std::collections::HashSet;
use std::time::Duration;

use change_feed::EventId;
use change_feed::consumer::ReceivedEvent;
use change_feed::kafka::{KafkaReader, KafkaReaderBuilder, ReaderError};
use test_support::kafka::{End, ends, is_stable};
use tokio::time::timeout;

/// How long a broker may take to answer before it counts as away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a `read_committed` reader sees of a topic, read again and again.
pub(crate) struct Topic {
    brokers: String,
    name: String,
    reader: Option<KafkaReader>,
    pub(crate) events: Vec<ReceivedEvent>,
    pub(crate) seen: HashSet<EventId>,
}

impl Topic {
    pub(crate) fn new(brokers: &str, name: &str) -> Self {
        let (events, seen) = (Vec::new(), HashSet::new());
        Self { brokers: brokers.to_owned(), name: name.to_owned(), reader: None, events, seen }
    }

    /// Another reader of the topic, from its beginning.
    pub(crate) fn reader(&self) -> KafkaReaderBuilder {
        KafkaReader::builder(&self.brokers, self.name.as_str())
    }

    /// Reads what is committed now, or says why it can't be read at present.
    pub(crate) async fn read_on(&mut self) -> Result<(), String> {
        match self.try_read_on().await {
            Ok(()) => Ok(()),
            Err(ReaderError::Unavailable(cause)) => Err(cause.to_string()),
            Err(error @ ReaderError::NoTopic(_)) => Err(error.to_string()),
            Err(error) => panic!("the topic can't be read: {error:?}"),
        }
    }

    async fn try_read_on(&mut self) -> Result<(), ReaderError> {
        if let Some(reader) = &mut self.reader {
            reader.mark_end().await?;
        } else {
            self.reader = Some(self.reader().open().await?);
        }
        let reader = self.reader.as_mut().expect("it was opened");
        // A reader waits for a broker that is away. Dropping its call loses nothing.
        while let Ok(next) = timeout(ANSWER_TIMEOUT, reader.next_before_end()).await {
            let Some(received) = next? else { return Ok(()) };
            reader.admit(&received)?;
            self.seen.insert(received.event.event_id());
            self.events.push(received.event);
        }
        Ok(())
    }

    /// Whether every transaction that was begun is committed or aborted, so that nothing hides behind an open one.
    pub(crate) async fn is_decided(&self) -> Result<(), String> {
        let (brokers, name) = (self.brokers.clone(), self.name.clone());
        tokio::task::spawn_blocking(move || is_stable(&brokers, &name)).await.expect("it does not panic")
    }

    /// Where each partition ends, for the report of a failure: what lies between the two ends hides behind an open
    /// transaction. It blocks.
    pub(crate) fn report(&self) -> String {
        match ends(&self.brokers, &self.name) {
            Ok(ends) => ends.iter().map(End::to_string).collect::<Vec<_>>().join("\n"),
            Err(error) => format!("where the topic ends can't be told: {error}"),
        }
    }
}
