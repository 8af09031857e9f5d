//! Partitions that a client has ceased to read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::client::{Client, Watermarks};
use super::error::ReaderError;
use super::partition::PartitionProgress;

/// How often it is looked whether a partition that gives nothing has nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// How long each question of a look may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);

/// Watches the single partitions of a client that still answers.
///
/// librdkafka can lose a partition when a broker comes back: it reads the others on and says nothing of that one
/// (<https://github.com/confluentinc/librdkafka/issues/5153>). One that has given nothing since the last look and goes on
/// behind the place where the reader stands is read anew from there; if nothing has come of it by the next look, another
/// client has to.
#[derive(Debug)]
pub(super) struct Stragglers {
    interval: Duration,
    looks_at: Instant,
    /// Of these nothing had come when the question was asked.
    silent: BTreeSet<u32>,
    /// Where the partitions end. The question survives the future that asked it.
    question: Option<JoinHandle<Result<BTreeMap<u32, Watermarks>, ReaderError>>>,
    /// These are being read anew since the last look.
    urged: BTreeSet<u32>,
}

/// What is to be done about a partition that gives nothing though it has more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Read on from where the reader stands, with the same client.
    Assign,
    /// It was done, and did not help.
    Replace,
}

impl Stragglers {
    pub(super) fn new() -> Self {
        Self::looking_every(LOOK_INTERVAL)
    }

    pub(super) fn looking_every(interval: Duration) -> Self {
        let (silent, urged) = (BTreeSet::new(), BTreeSet::new());
        Self { interval, looks_at: Instant::now() + interval, silent, question: None, urged }
    }

    /// Ends when there is one.
    pub(super) async fn until_found(
        &mut self,
        client: &Client,
        partitions: &mut BTreeMap<u32, PartitionProgress>,
    ) -> Remedy {
        loop {
            let question = match &mut self.question {
                Some(question) => question,
                None => {
                    sleep_until(self.looks_at).await;
                    self.looks_at = Instant::now() + self.interval;
                    self.silent = take_silent(partitions);
                    if self.silent.is_empty() {
                        self.urged.clear();
                        continue;
                    }
                    self.question.insert(client.ask_watermarks(QUESTION_LIMIT))
                }
            };
            let answer = question.await;
            self.question = None;
            // A broker that does not answer is looked after elsewhere.
            let Ok(Ok(ends)) = answer else { continue };
            if let Some(remedy) = self.judge(&ends, partitions) {
                return remedy;
            }
        }
    }

    fn judge(
        &mut self,
        ends: &BTreeMap<u32, Watermarks>,
        partitions: &mut BTreeMap<u32, PartitionProgress>,
    ) -> Option<Remedy> {
        let urged = std::mem::take(&mut self.urged);
        for partition in &self.silent {
            let (Some(progress), Some(ends)) = (partitions.get_mut(partition), ends.get(partition)) else { continue };
            if progress.lags_behind(ends.end) {
                self.urged.insert(*partition);
            }
        }
        if !self.urged.is_disjoint(&urged) {
            self.urged.clear();
            return Some(Remedy::Replace);
        }
        (!self.urged.is_empty()).then_some(Remedy::Assign)
    }
}

/// Those of which nothing has come since this was called last.
fn take_silent(partitions: &mut BTreeMap<u32, PartitionProgress>) -> BTreeSet<u32> {
    partitions.iter_mut().filter_map(|(partition, progress)| progress.was_silent().then_some(*partition)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of three partitions that all end at 10: where the reader stands in each.
    fn partitions(next: [u64; 3]) -> BTreeMap<u32, PartitionProgress> {
        (0..).zip(next.map(|next| PartitionProgress::new(next, 10))).collect()
    }

    fn look(stragglers: &mut Stragglers, partitions: &mut BTreeMap<u32, PartitionProgress>) -> Option<Remedy> {
        let ends = partitions.keys().map(|partition| (*partition, Watermarks { low: 0, end: 10 })).collect();
        stragglers.silent = take_silent(partitions);
        stragglers.judge(&ends, partitions)
    }

    #[tokio::test]
    async fn what_stays_silent_though_it_has_more_needs_another_client() {
        let (mut stragglers, mut partitions) = (Stragglers::new(), partitions([10, 10, 7]));
        assert_eq!(look(&mut stragglers, &mut partitions), Some(Remedy::Assign));
        assert_eq!(look(&mut stragglers, &mut partitions), Some(Remedy::Replace));
        // The new client has its time, too.
        assert_eq!(look(&mut stragglers, &mut partitions), Some(Remedy::Assign));
    }

    #[tokio::test]
    async fn what_gives_something_is_left_alone() {
        let (mut stragglers, mut partitions) = (Stragglers::new(), partitions([10, 10, 7]));
        partitions.get_mut(&2).expect("it is there").received(6);
        assert_eq!(look(&mut stragglers, &mut partitions), None);
        assert_eq!(look(&mut stragglers, &mut partitions), Some(Remedy::Assign));
        partitions.get_mut(&2).expect("it is there").received(7);
        assert_eq!(look(&mut stragglers, &mut partitions), None);
        assert_eq!(look(&mut stragglers, &mut partitions), Some(Remedy::Assign));
    }

    #[tokio::test]
    async fn what_has_nothing_more_is_left_alone() {
        let (mut stragglers, mut partitions) = (Stragglers::new(), partitions([10, 11, 10]));
        assert_eq!(look(&mut stragglers, &mut partitions), None);
        assert_eq!(look(&mut stragglers, &mut partitions), None);
    }
}
