//! Readers that are open while the broker goes away, and comes back.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock};

use change_feed::EventId;
use change_feed::kafka::{KafkaReader, ReaderError};
use tokio::task::JoinHandle;

use crate::assignment::{Capture, Mode};
use crate::world::World;
use test_support::Instance;
use test_support::eventually;

use super::Fault;

/// A fault comes so long after the other at most, and the broker is away so long at most.
const CALM_MAX_MS: u64 = 1_000;

/// What a reader does with its time.
#[derive(Debug, Clone, Copy)]
enum Habit {
    /// Waits for what comes.
    Follows,
    /// Marks the end and reads to it, again and again: it asks the broker for something in every moment.
    MarksTheEnd,
}

/// What a reader has seen.
#[derive(Debug, Default)]
struct Seen {
    events: HashSet<EventId>,
    /// The offset that comes next, by partition.
    offsets: BTreeMap<u32, u64>,
}

/// A task that reads a topic with one and the same reader.
struct Reading {
    habit: Habit,
    seen: Arc<Mutex<Seen>>,
    gave_up: Arc<OnceLock<ReaderError>>,
    task: JoinHandle<()>,
}

/// The broker is stopped, and killed, so often under readers that stay open. Each of them has every event when the broker
/// is back, with nobody's help (V).
pub(crate) async fn readers(rounds: u32) {
    let servers = Instance::with_brokers("crash-readers", 1).await;
    let mut world = World::new(
        Capture::Sqlite,
        Mode::Transactional,
        servers.url(Capture::Sqlite.url_variable()),
        servers.brokers(),
    )
    .await;
    let load = world.load();
    let mut relay = world.relay();
    world.catch_up(&[&relay]).await;
    let mut readings = Vec::new();
    for habit in [Habit::Follows, Habit::MarksTheEnd] {
        // A broker that starts knows no topics for a moment. With this a client takes it at its word at once, as one
        // does that is older than half a minute.
        let builder = world.topic.reader().set("topic.metadata.propagation.max.ms", "0");
        readings.push(Reading::start(habit, builder.open().await.expect("a reader")));
    }
    for _ in 0..rounds {
        for fault in [Fault::BrokerStopped, Fault::BrokerKilled] {
            world.some_time(CALM_MAX_MS).await;
            let (command, server) = fault.command();
            servers.tell(command, server).await;
            world.some_time(CALM_MAX_MS).await;
            servers.tell("start", server).await;
            let committed: HashSet<EventId> = world.history().await.iter().map(|event| event.event_id).collect();
            for reading in &readings {
                let what = format!("a reader that {:?} has read everything", reading.habit);
                let report = || {
                    let readings: Vec<String> = readings.iter().map(|reading| reading.report(&committed)).collect();
                    format!("{}\n{}\n{}", readings.join("\n"), world.topic.report(), relay.report())
                };
                eventually(&what, async || reading.check(&committed), report).await;
            }
        }
    }
    let written = load.stop().await;
    world.drain(&mut relay).await;
    world.conclude("readers under outages of the broker", &written, &format!("{rounds} times each")).await;
}

impl Reading {
    fn start(habit: Habit, reader: KafkaReader) -> Self {
        let (seen, gave_up) = (Arc::default(), Arc::new(OnceLock::new()));
        let (seeing, giving_up) = (Arc::clone(&seen), Arc::clone(&gave_up));
        let task = tokio::spawn(async move {
            let error = read(habit, reader, seeing).await;
            giving_up.get_or_init(|| error);
        });
        Self { habit, seen, gave_up, task }
    }

    /// Whether it goes on and has read these.
    fn check(&self, committed: &HashSet<EventId>) -> Result<(), String> {
        assert!(self.gave_up.get().is_none(), "a reader that {:?} gave up: {:?}", self.habit, self.gave_up.get());
        let missing = self.count_missing(committed);
        if missing == 0 { Ok(()) } else { Err(format!("{missing} are missing")) }
    }

    fn report(&self, committed: &HashSet<EventId>) -> String {
        let offsets = self.seen.lock().expect("no reader panics").offsets.clone();
        format!("a reader that {:?} misses {}, and stands at {offsets:?}", self.habit, self.count_missing(committed))
    }

    fn count_missing(&self, committed: &HashSet<EventId>) -> usize {
        committed.difference(&self.seen.lock().expect("no reader panics").events).count()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads until there is an error that a further call would only repeat.
async fn read(habit: Habit, mut reader: KafkaReader, seen: Arc<Mutex<Seen>>) -> ReaderError {
    loop {
        let received = match habit {
            Habit::Follows => reader.take_next().await.map(|received| vec![received]),
            Habit::MarksTheEnd => match reader.mark_end().await {
                Ok(()) => reader.read_to_end().await,
                Err(error) => Err(error),
            },
        };
        match received {
            Ok(received) => {
                let mut seen = seen.lock().expect("nobody panics");
                seen.events.extend(received.into_iter().map(|received| received.event.event_id()));
                seen.offsets = reader.offsets();
            }
            Err(ReaderError::Unavailable(_)) => {}
            Err(error) => return error,
        }
    }
}
