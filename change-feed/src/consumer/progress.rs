//! The progress of a consumer in memory.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::admission::{Admission, FirstVersion, Taken};
use super::event::ReceivedEvent;
use super::progress_store::{ProgressKey, ProgressStore};

/// How far a consumer has come: the last event that it took of each key, by partition.
///
/// Store it (it is [`Serialize`]) in the transaction of the effects, and each event takes effect once. Memory: some 60
/// bytes and the key for each key.
///
/// ```
/// # use change_feed::consumer::{ReceivedEvent, Record};
/// use change_feed::consumer::{Admission, Progress};
///
/// # fn apply(_: &ReceivedEvent) -> bool { true }
/// fn consume(progress: &mut Progress, event: &ReceivedEvent) {
///     match progress.check(event) {
///         Admission::New | Admission::Baseline if apply(event) => progress.take(event),
///         Admission::New | Admission::Baseline => {} // It failed, and is as new as before.
///         Admission::Gap { expected, got } => panic!("version {got} came instead of {expected}"),
///         _ => {}
///     }
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    first_version: FirstVersion,
    partitions: BTreeMap<u32, Vec<FeedProgress>>,
}

/// The keys of one feed in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FeedProgress {
    feed: Box<str>,
    keys: HashMap<Box<str>, Taken>,
}

impl Progress {
    /// The progress of a consumer that reads a topic from its first event.
    pub fn new() -> Self {
        Self::default()
    }

    /// The progress of a consumer that joins a topic midway: the first event of a key that it sees
    /// is new, whatever its version.
    pub fn joining_midway() -> Self {
        Self { first_version: FirstVersion::Any, ..Self::default() }
    }

    /// Classifies an event.
    pub fn check(&self, event: &ReceivedEvent) -> Admission {
        Admission::of(event, ProgressStore::last(self, &event.into()), self.first_version)
    }

    /// Notes an event as taken, whatever its admission is. Nothing at or before it is new from now on.
    pub fn take(&mut self, event: &ReceivedEvent) {
        ProgressStore::take(self, &event.into(), event.into());
    }

    /// Classifies an event, and notes it as taken if it is to be applied: for consumers whose effects can't fail.
    pub fn admit(&mut self, event: &ReceivedEvent) -> Admission {
        let admission = self.check(event);
        if admission.is_to_be_applied() {
            self.take(event);
        }
        admission
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.partitions.values().flatten().map(|feed| feed.keys.len()).sum()
    }

    /// Whether no event was taken yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Expects any version of the first event of a key.
    #[cfg(feature = "kafka")]
    pub(crate) fn join_midway(&mut self) {
        self.first_version = FirstVersion::Any;
    }
}

#[async_trait]
impl ProgressStore for Progress {
    fn last(&self, key: &ProgressKey<'_>) -> Option<Taken> {
        let feeds = self.partitions.get(&key.partition)?;
        feeds.iter().find(|feed| *feed.feed == *key.feed)?.keys.get(key.key).copied()
    }

    fn take(&mut self, key: &ProgressKey<'_>, taken: Taken) {
        let feeds = self.partitions.entry(key.partition).or_default();
        let place = feeds.iter().position(|feed| *feed.feed == *key.feed).unwrap_or_else(|| {
            feeds.push(FeedProgress { feed: Box::from(key.feed), keys: HashMap::new() });
            feeds.len() - 1
        });
        let keys = &mut feeds[place].keys;
        match keys.get_mut(key.key) {
            Some(last) => *last = taken.max(*last),
            None => {
                keys.insert(Box::from(key.key), taken);
            }
        }
    }

    fn forget(&mut self, partition: u32) {
        self.partitions.remove(&partition);
    }

    fn first_version(&self) -> FirstVersion {
        self.first_version
    }
}

#[cfg(test)]
mod tests {
    use Admission::{Duplicate, Gap, New};

    use super::*;
    use crate::consumer::record::Record;

    /// An event of the key "a".
    fn event(feed: &str, partition: u32, epoch: u32, version: u64) -> ReceivedEvent {
        let (version, epoch) = (version.to_string(), epoch.to_string());
        let headers: Vec<(&str, &[u8])> = vec![
            ("ce_specversion", b"1.0"),
            ("ce_id", b"01985f0f-0000-7000-8000-000000000001"),
            ("ce_type", b"order.created.v1"),
            ("ce_source", b"/tests"),
            ("ce_subject", b"a"),
            ("ce_time", b"2026-11-05T09:30:00.000000Z"),
            ("feed_version", version.as_bytes()),
            ("feed", feed.as_bytes()),
            ("feed_position", b"1s-000000000000002a-0000000000000000"),
            ("feed_epoch", epoch.as_bytes()),
        ];
        let record = Record {
            topic: "orders.events".into(),
            partition,
            offset: 7,
            key: Some(b"a"),
            headers,
            payload: Some(b"{}"),
        };
        ReceivedEvent::parse(&record).expect("an event")
    }

    #[test]
    fn an_event_whose_effect_failed_is_as_new_as_before() {
        let mut progress = Progress::new();
        let first = event("orders", 0, 1, 1);
        assert_eq!([progress.check(&first), progress.check(&first)], [New, New]);
        progress.take(&first);
        assert_eq!(progress.check(&first), Duplicate);
    }

    #[test]
    fn a_gap_leaves_the_progress_where_it_was_unless_it_is_taken() {
        let mut progress = Progress::new();
        assert_eq!(progress.admit(&event("orders", 0, 1, 1)), New);
        let third = event("orders", 0, 1, 3);
        assert_eq!([progress.admit(&third), progress.admit(&third)], [Gap { expected: 2, got: 3 }; 2]);
        assert_eq!(progress.admit(&event("orders", 0, 1, 2)), New);
        progress.take(&event("orders", 0, 1, 9));
        assert_eq!(progress.admit(&event("orders", 0, 1, 10)), New);
    }

    #[test]
    fn an_older_event_that_is_taken_moves_nothing_back() {
        let mut progress = Progress::new();
        progress.take(&event("orders", 0, 2, 4));
        progress.take(&event("orders", 0, 1, 9));
        assert_eq!(progress.check(&event("orders", 0, 2, 5)), New);
    }

    #[test]
    fn the_progress_of_a_revoked_partition_is_forgotten_and_of_no_other() {
        let mut progress = Progress::joining_midway();
        [0, 1].into_iter().for_each(|partition| progress.take(&event("orders", partition, 1, 5)));
        progress.forget(0);
        assert_eq!(progress.check(&event("orders", 0, 1, 3)), New);
        assert_eq!(progress.check(&event("orders", 1, 1, 3)), Duplicate);
        assert_eq!(progress.len(), 1);
    }

    #[test]
    fn feeds_that_share_a_topic_have_versions_and_epochs_of_their_own() {
        let mut progress = Progress::new();
        progress.take(&event("shard_1", 0, 3, 9));
        assert_eq!(progress.admit(&event("shard_2", 0, 1, 1)), New);
        assert_eq!(progress.admit(&event("shard_1", 0, 3, 10)), New);
        assert_eq!(progress.len(), 2);
    }

    #[test]
    fn progress_reads_back_from_its_json() {
        let mut progress = Progress::joining_midway();
        progress.take(&event("orders", 0, 1, 7));
        progress.take(&event("shard_1", 5, 2, 7));
        let json = serde_json::to_string(&progress).expect("plain data");
        assert_eq!(serde_json::from_str::<Progress>(&json).expect("the same shape"), progress);
    }
}
