//! A consumer that notes when each row arrives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Message as _};
use tokio::time::sleep;

use super::writer::index;
use crate::kafka::{Kafka, assign};
use crate::outcome::Outcome;

const POLL: Duration = Duration::from_millis(20);
const WAIT_POLL: Duration = Duration::from_millis(5);
/// How long the broker holds a request while there are no records.
const FETCH_WAIT_MS: &str = "10";
/// In the JSON of a row, before the key.
const KEY_MEMBER: &[u8] = b"\"order_id\":\"";
const KEY_CHARACTERS: usize = 36;

/// A consumer in a thread of its own, with `read_committed`.
#[derive(Debug)]
pub(crate) struct Reader {
    arrivals: Arc<Mutex<Vec<Option<Instant>>>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Reads a topic from its beginning on.
    pub(crate) fn start(kafka: &Kafka, topic: &str) -> Outcome<Self> {
        let consumer = kafka.consumer(&[("fetch.wait.max.ms", FETCH_WAIT_MS), ("enable.partition.eof", "false")])?;
        assign(&consumer, topic, Offset::Beginning)?;
        let (arrivals, ending) = (Arc::default(), Arc::default());
        let thread = std::thread::spawn({
            let (arrivals, ending) = (Arc::clone(&arrivals), Arc::clone(&ending));
            move || read(&consumer, &arrivals, &ending)
        });
        Ok(Self { arrivals, ending, thread: Some(thread) })
    }

    /// When a row arrived for the first time, if it has.
    pub(crate) fn arrival(&self, index: usize) -> Option<Instant> {
        lock(&self.arrivals).get(index).copied().flatten()
    }

    /// Waits for a row; `None` if it does not come in time.
    pub(crate) async fn wait_for(&self, index: usize, limit: Duration) -> Option<Instant> {
        let deadline = Instant::now() + limit;
        loop {
            match self.arrival(index) {
                None if Instant::now() < deadline => sleep(WAIT_POLL).await,
                arrival => return arrival,
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its arrivals are noted already.
            let _: std::thread::Result<()> = thread.join();
        }
    }
}

fn read(consumer: &BaseConsumer, arrivals: &Mutex<Vec<Option<Instant>>>, ending: &AtomicBool) {
    while !ending.load(Ordering::Relaxed) {
        // The error passes, or the rows stay away and the rig reports that.
        let Some(Ok(message)) = consumer.poll(POLL) else { continue };
        let now = Instant::now();
        if let Some(index) = row_of(&message) {
            let mut arrivals = lock(arrivals);
            if arrivals.len() <= index {
                arrivals.resize(index + 1, None);
            }
            arrivals[index].get_or_insert(now);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn row_of(message: &BorrowedMessage<'_>) -> Option<usize> {
    let by_key = message.key().and_then(|key| index(std::str::from_utf8(key).ok()?));
    by_key.or_else(|| index(key_in(message.payload()?)?))
}

/// The key in the JSON of a row.
fn key_in(value: &[u8]) -> Option<&str> {
    let at = value.windows(KEY_MEMBER.len()).position(|window| window == KEY_MEMBER)? + KEY_MEMBER.len();
    std::str::from_utf8(value.get(at..at + KEY_CHARACTERS)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_in_the_json_of_a_row() {
        let value =
            br#"{"before":null,"after":{"sequence":1,"order_id":"01930000-0000-7000-8000-00000000002a","version":1}}"#;
        assert_eq!(key_in(value), Some("01930000-0000-7000-8000-00000000002a"));
        assert_eq!(key_in(br#"{"order_id":"short"}"#), None);
        assert_eq!(key_in(b""), None);
    }
}
