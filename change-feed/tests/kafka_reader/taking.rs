//! Events that are given before they are taken, with an effect that may fail.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use change_feed::consumer::{Admission, Progress, ProgressKey, ProgressStore, Received, Taken};
use change_feed::kafka::{KafkaReader, ReaderError};
use change_feed::memory::MemoryDatabase;

use crate::kafka_reader::broker::{Topic, brokers, envelopes};
use crate::kafka_reader::{in_time, reader};

/// A projection's database: effects, progress rows and offsets, which change in one transaction.
#[derive(Default)]
struct Tables {
    effects: Vec<(String, u64)>,
    progress: HashMap<(u32, String), Taken>,
    offsets: BTreeMap<u32, u64>,
}

/// The progress of a projection: a cache of its rows.
struct Cache {
    tables: Arc<Mutex<Tables>>,
    rows: HashMap<(u32, String), Option<Taken>>,
    is_broken: bool,
}

/// Why a transaction of the projection changed nothing.
#[derive(Debug, PartialEq)]
enum Refused {
    /// The progress row is not what this consumer believes.
    Zombie,
}

impl Cache {
    fn of(tables: &Arc<Mutex<Tables>>) -> Self {
        Self { tables: Arc::clone(tables), rows: HashMap::new(), is_broken: false }
    }
}

#[async_trait]
impl ProgressStore for Cache {
    async fn load(&mut self, keys: &[ProgressKey<'_>]) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.is_broken {
            return Err("the database is away".into());
        }
        let tables = self.tables.lock().expect("no test panics in it");
        for key in keys {
            let row = (key.partition, key.key.to_owned());
            let stored = tables.progress.get(&row).copied();
            self.rows.entry(row).or_insert(stored);
        }
        Ok(())
    }

    fn last(&self, key: &ProgressKey<'_>) -> Option<Taken> {
        self.rows.get(&(key.partition, key.key.to_owned())).copied().flatten()
    }

    fn take(&mut self, key: &ProgressKey<'_>, taken: Taken) {
        self.rows.insert((key.partition, key.key.to_owned()), Some(taken));
    }

    fn forget(&mut self, partition: u32) {
        self.rows.retain(|(of, _), _| *of != partition);
    }
}

/// The transaction of a projection: effect, progress row and offset, unless the row was changed by another consumer.
fn commit(tables: &Mutex<Tables>, received: &Received) -> Result<(), Refused> {
    let mut tables = tables.lock().expect("no test panics in it");
    let event = &received.event;
    let row = (event.partition(), event.key().to_owned());
    if tables.progress.get(&row).copied() != received.after {
        return Err(Refused::Zombie);
    }
    tables.effects.push((event.key().to_owned(), event.version()));
    tables.progress.insert(row, Taken::from(event));
    tables.offsets.insert(event.partition(), event.offset() + 1);
    Ok(())
}

async fn projection(topic: &Topic, tables: &Arc<Mutex<Tables>>) -> KafkaReader<Cache> {
    let offsets = tables.lock().expect("no test panics in it").offsets.clone();
    let builder = KafkaReader::builder(&brokers(), topic.name.as_str()).from_offsets(offsets);
    in_time(builder.progress(Cache::of(tables)).open()).await.expect("a reader")
}

fn effects(tables: &Mutex<Tables>) -> Vec<(String, u64)> {
    tables.lock().expect("no test panics in it").effects.clone()
}

#[tokio::test]
async fn an_event_whose_effect_failed_is_given_again_as_new_and_its_offset_waits_for_it() {
    let (topic, database) = (Topic::create("failed-effect", 1).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a", "b"]));
    let mut reader = reader(&topic).await;
    for _ in 0..3 {
        let received = in_time(reader.next()).await.expect("an event");
        assert_eq!((received.event.key(), received.admission), ("a", Admission::New));
        assert_eq!(reader.offsets(), BTreeMap::from([(0, 0)]));
        assert!(reader.progress().is_empty());
    }
    let received = in_time(reader.next()).await.expect("an event");
    reader.taken(&received.event).expect("it is the next one");
    assert_eq!(reader.offsets(), BTreeMap::from([(0, 1)]));
    let received = in_time(reader.next()).await.expect("an event");
    assert_eq!((received.event.key(), received.event.version()), ("b", 1));
}

#[tokio::test]
async fn the_events_of_a_partition_are_taken_in_order_and_once() {
    let (topic, database) = (Topic::create("taken-in-order", 1).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a", "b", "a"]));
    let mut reader = reader(&topic).await;
    let mut batch = Vec::new();
    while batch.len() < 3 {
        batch = in_time(reader.next_batch(10)).await.expect("events");
    }
    let error = reader.taken(&batch[1].event).expect_err("the first one is not taken");
    assert!(matches!(error, ReaderError::NotNext { partition: 0, offset: 1 }), "{error:?}");
    reader.taken(&batch[0].event).expect("it is the next one");
    let error = reader.taken(&batch[0].event).expect_err("it was taken");
    assert!(matches!(error, ReaderError::NotNext { offset: 0, .. }), "{error:?}");
    reader.taken(&batch[1].event).expect("it is the next one");
    reader.taken(&batch[2].event).expect("it is the next one");
    assert_eq!(in_time(reader.read_to_end()).await.expect("nothing more"), []);
}

#[tokio::test]
async fn a_batch_is_classified_as_a_whole_and_ends_with_a_gap() {
    let (topic, database) = (Topic::create("batch", 1).await, MemoryDatabase::new());
    let [first, second, third, fourth, fifth] =
        envelopes(&database, &["a", "a", "a", "a", "a"]).try_into().expect("five");
    drop(third);
    topic.publish(&[first.clone(), second, first, fourth, fifth]);
    let mut reader = reader(&topic).await;
    let mut batch = Vec::new();
    while batch.len() < 4 {
        batch = in_time(reader.next_batch(10)).await.expect("events");
    }
    let admissions: Vec<_> = batch.iter().map(|received| received.admission).collect();
    let gap = Admission::Gap { expected: 3, got: 4 };
    assert_eq!(admissions, [Admission::New, Admission::New, Admission::Duplicate, gap]);
    batch.iter().take(3).for_each(|received| reader.admit(received).expect("in order"));
    // A consumer that takes the gap goes on after it.
    reader.taken(&batch[3].event).expect("it is the next one");
    let last = in_time(reader.take_next()).await.expect("an event");
    assert_eq!((last.event.version(), last.admission), (5, Admission::New));
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_and_its_event_is_a_duplicate() {
    let (topic, database) = (Topic::create("lost-answer", 1).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a", "a"]));
    let tables = Arc::default();
    let mut reader = projection(&topic, &tables).await;
    let received = in_time(reader.next()).await.expect("an event");
    // It is committed, and the connection breaks before the answer.
    commit(&tables, &received).expect("nobody else is there");
    reader.progress_mut().forget(received.event.partition());
    let again = in_time(reader.next()).await.expect("the same event");
    assert_eq!((again.event.version(), again.admission), (1, Admission::Duplicate));
    reader.passed_over(&again.event).expect("it is the next one");
    let next = in_time(reader.next()).await.expect("an event");
    assert_eq!((next.event.version(), next.admission), (2, Admission::New));
}

#[tokio::test]
async fn a_process_that_ends_between_commit_and_note_takes_nothing_twice() {
    let (topic, database) = (Topic::create("killed", 2).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a", "b", "a", "c", "b", "a"]));
    let tables = Arc::default();
    // Each process commits one effect and dies.
    for _ in 0..6 {
        let mut reader = projection(&topic, &tables).await;
        let received = in_time(reader.next()).await.expect("an event");
        assert_eq!(received.admission, Admission::New);
        commit(&tables, &received).expect("nobody else is there");
    }
    let mut effects = effects(&tables);
    effects.sort();
    let expected = [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("c", 1)];
    assert_eq!(effects, expected.map(|(key, version)| (key.to_owned(), version)));
}

#[tokio::test]
async fn a_zombie_commits_nothing_and_a_partition_that_comes_back_is_read_from_what_was_stored_meanwhile() {
    let (topic, database) = (Topic::create("zombie", 1).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a", "a", "a"]));
    let tables = Arc::default();
    let mut zombie = projection(&topic, &tables).await;
    let held = in_time(zombie.next()).await.expect("an event");

    // The partition goes to another consumer, which takes two events.
    let mut heir = projection(&topic, &tables).await;
    for _ in 0..2 {
        let received = in_time(heir.next()).await.expect("an event");
        commit(&tables, &received).expect("it has the partition");
        heir.taken(&received.event).expect("it is the next one");
    }
    assert_eq!(commit(&tables, &held), Err(Refused::Zombie));

    // Then the first one hears of it, and gets the partition back.
    zombie.revoke([0]).expect("the client is there");
    let error = zombie.taken(&held.event).expect_err("it is another consumer's");
    assert!(matches!(error, ReaderError::NotNext { .. }), "{error:?}");
    let offsets = tables.lock().expect("no test panics in it").offsets.clone();
    in_time(zombie.assign(offsets)).await.expect("the partition is there");
    let received = in_time(zombie.next()).await.expect("an event");
    assert_eq!((received.event.version(), received.admission), (3, Admission::New));
    commit(&tables, &received).expect("it has the partition");
    assert_eq!(effects(&tables), [1, 2, 3].map(|version| ("a".to_owned(), version)));
}

#[tokio::test]
async fn progress_that_cant_be_read_is_an_error_and_loses_no_event() {
    let (topic, database) = (Topic::create("store-away", 1).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a"]));
    let tables = Arc::default();
    let mut reader = projection(&topic, &tables).await;
    reader.progress_mut().is_broken = true;
    for _ in 0..2 {
        let error = in_time(reader.next()).await.expect_err("it can't be told whether it is new");
        assert!(matches!(error, ReaderError::Progress(_)), "{error:?}");
    }
    reader.progress_mut().is_broken = false;
    assert_eq!(in_time(reader.next()).await.expect("an event").admission, Admission::New);
}

#[tokio::test]
async fn a_reader_of_some_partitions_gives_nothing_of_the_others() {
    let (topic, database) = (Topic::create("some-partitions", 4).await, MemoryDatabase::new());
    let keys: Vec<String> = (0..40).map(|n| format!("order-{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    topic.publish(&envelopes(&database, &keys));
    let builder = KafkaReader::builder(&brokers(), topic.name.as_str());
    let mut counts = Vec::new();
    for partitions in [vec![0, 2], vec![1], vec![3], vec![]] {
        let mut reader = in_time(builder.clone().partitions(partitions.clone()).open()).await.expect("a reader");
        let received = in_time(reader.read_to_end()).await.expect("events");
        assert!(received.iter().all(|received| partitions.contains(&received.event.partition())));
        assert_eq!(reader.offsets().into_keys().collect::<Vec<_>>(), partitions);
        counts.push(received.len());
    }
    assert_eq!(counts.iter().sum::<usize>(), keys.len());
}

#[tokio::test]
async fn a_partition_that_vanished_or_never_was_is_named() {
    let topic = Topic::create("vanished", 2).await;
    let builder = KafkaReader::builder(&brokers(), topic.name.as_str());
    // Offsets that were stored of a topic that had more partitions, and was made anew.
    let opening = [builder.clone().from_offsets([(0, 0), (5, 17)]), builder.partitions([5])];
    for builder in opening {
        let error = in_time(builder.open()).await.expect_err("no such partition");
        assert!(matches!(error, ReaderError::NoPartition { partition: 5, found: 2, .. }), "{error:?}");
    }
    let mut reader = reader(&topic).await;
    let error = in_time(reader.assign([(2, 0)])).await.expect_err("no such partition");
    assert!(matches!(error, ReaderError::NoPartition { partition: 2, .. }), "{error:?}");
}

#[tokio::test]
async fn a_key_that_moves_to_another_partition_is_told_as_a_gap() {
    let (topic, database) = (Topic::create("moved-key", 1).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a", "a"]));
    let mut before = reader(&topic).await;
    in_time(before.read_to_end()).await.expect("events");
    topic.add_partitions(16).await;
    // A key in each of many partitions: some are not in the first one.
    let keys: Vec<String> = (0..32).map(|n| format!("order-{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    topic.publish(&envelopes(&database, &keys));
    topic.publish(&envelopes(&database, &["a"]));

    let error = in_time(before.mark_end()).await.expect_err("another number of partitions");
    assert!(matches!(error, ReaderError::Repartitioned { opened: 1, found: 16, .. }), "{error:?}");
    let progress: Progress = before.progress().clone();
    let builder = KafkaReader::builder(&brokers(), topic.name.as_str()).from_offsets(before.offsets());
    let mut after = in_time(builder.progress(progress).open()).await.expect("a reader");
    let received = in_time(after.read_to_end()).await.expect("events");
    let moved = received.iter().find(|received| received.event.key() == "a").expect("it is there");
    if moved.event.partition() != 0 {
        assert_eq!(moved.admission, Admission::Gap { expected: 1, got: 3 });
    }
    let others = received.iter().filter(|received| received.event.key() != "a");
    assert!(others.into_iter().all(|received| received.admission == Admission::New));
}

#[tokio::test]
async fn offsets_pass_the_markers_and_aborted_records_at_the_end() {
    let (topic, database) = (Topic::create("markers", 1).await, MemoryDatabase::new());
    topic.publish(&envelopes(&database, &["a"]));
    topic.publish_open(&envelopes(&MemoryDatabase::new(), &["b", "c"]));
    topic.abort();
    let mut reader = reader(&topic).await;
    let received = in_time(reader.read_to_end()).await.expect("events");
    assert_eq!(received.len(), 1);
    // The event, its marker, two aborted records and theirs: a consumer that has taken everything has no lag.
    assert_eq!(reader.offsets(), BTreeMap::from([(0, 5)]));
}
