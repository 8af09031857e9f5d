//! Finds partitions that a client has ceased to read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::client::{Client, Watermarks};
use super::partition::PartitionProgress;
use crate::kafka::failure::Failure;

/// The time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// The limit of each query of a check.
const QUERY_LIMIT: Duration = Duration::from_secs(5);

/// Checks the partitions of a client that still answers.
///
/// librdkafka can lose a partition when a broker comes back: it reads the others on and reports nothing
/// (<https://github.com/confluentinc/librdkafka/issues/5153>). A partition that has given nothing since the last check
/// though it has more is assigned again; if it has given nothing by the next check either, the client is replaced.
///
/// No client reports that its topic got more partitions either.
#[derive(Debug)]
pub(super) struct SilentPartitions {
    interval: Duration,
    checks_at: Instant,
    /// The partitions that had given nothing when the query began.
    silent: BTreeSet<u32>,
    /// Where the partitions end. The query survives the future that began it.
    query: Option<JoinHandle<Result<BTreeMap<u32, Watermarks>, Failure>>>,
    /// The partitions that were assigned again at the last check.
    reassigned: BTreeSet<u32>,
}

/// What a check has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// A partition gives nothing though it has more.
    Silent,
    /// It was assigned again, and gives nothing still.
    StillSilent,
    /// The topic has this number of partitions now.
    Repartitioned(usize),
}

impl SilentPartitions {
    pub(super) fn new() -> Self {
        Self::checking_every(CHECK_INTERVAL)
    }

    pub(super) fn checking_every(interval: Duration) -> Self {
        let (silent, reassigned) = (BTreeSet::new(), BTreeSet::new());
        Self { interval, checks_at: Instant::now() + interval, silent, query: None, reassigned }
    }

    /// Ends with a finding. `count` is the number of partitions that the topic had.
    pub(super) async fn until_found(
        &mut self,
        client: &Client,
        partitions: &mut BTreeMap<u32, PartitionProgress>,
        count: usize,
    ) -> Finding {
        loop {
            let query = match &mut self.query {
                Some(query) => query,
                None => {
                    sleep_until(self.checks_at).await;
                    self.checks_at = Instant::now() + self.interval;
                    self.silent = take_silent(partitions);
                    self.query.insert(client.query_watermarks(QUERY_LIMIT))
                }
            };
            let answer = query.await;
            self.query = None;
            // Errors of the connection are handled elsewhere.
            let Ok(Ok(ends)) = answer else { continue };
            if ends.len() > count {
                return Finding::Repartitioned(ends.len());
            }
            if let Some(finding) = self.compare(&ends, partitions) {
                return finding;
            }
        }
    }

    fn compare(
        &mut self,
        ends: &BTreeMap<u32, Watermarks>,
        partitions: &mut BTreeMap<u32, PartitionProgress>,
    ) -> Option<Finding> {
        let before = std::mem::take(&mut self.reassigned);
        for partition in &self.silent {
            let (Some(progress), Some(ends)) = (partitions.get_mut(partition), ends.get(partition)) else { continue };
            if progress.lags_behind(ends.end) {
                self.reassigned.insert(*partition);
            }
        }
        if !self.reassigned.is_disjoint(&before) {
            self.reassigned.clear();
            return Some(Finding::StillSilent);
        }
        (!self.reassigned.is_empty()).then_some(Finding::Silent)
    }
}

/// The partitions of which nothing has come since the last call.
fn take_silent(partitions: &mut BTreeMap<u32, PartitionProgress>) -> BTreeSet<u32> {
    partitions.iter_mut().filter_map(|(partition, progress)| progress.was_silent().then_some(*partition)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of a reader in three partitions that all end at 10.
    fn partitions(next: [u64; 3]) -> BTreeMap<u32, PartitionProgress> {
        (0..).zip(next.map(|next| PartitionProgress::new(next, 10))).collect()
    }

    fn check(silent: &mut SilentPartitions, partitions: &mut BTreeMap<u32, PartitionProgress>) -> Option<Finding> {
        let ends = partitions.keys().map(|partition| (*partition, Watermarks { low: 0, end: 10 })).collect();
        silent.silent = take_silent(partitions);
        silent.compare(&ends, partitions)
    }

    #[tokio::test]
    async fn a_partition_that_stays_silent_though_it_has_more_needs_another_client() {
        let (mut silent, mut partitions) = (SilentPartitions::new(), partitions([10, 10, 7]));
        assert_eq!(check(&mut silent, &mut partitions), Some(Finding::Silent));
        assert_eq!(check(&mut silent, &mut partitions), Some(Finding::StillSilent));
        // The new client has its time, too.
        assert_eq!(check(&mut silent, &mut partitions), Some(Finding::Silent));
    }

    #[tokio::test]
    async fn a_partition_that_gives_something_is_left_alone() {
        let (mut silent, mut partitions) = (SilentPartitions::new(), partitions([10, 10, 7]));
        partitions.get_mut(&2).expect("it is there").received(6);
        assert_eq!(check(&mut silent, &mut partitions), None);
        assert_eq!(check(&mut silent, &mut partitions), Some(Finding::Silent));
        partitions.get_mut(&2).expect("it is there").received(7);
        assert_eq!(check(&mut silent, &mut partitions), None);
        assert_eq!(check(&mut silent, &mut partitions), Some(Finding::Silent));
    }

    #[tokio::test]
    async fn a_partition_that_has_nothing_more_is_left_alone() {
        let (mut silent, mut partitions) = (SilentPartitions::new(), partitions([10, 11, 10]));
        assert_eq!(check(&mut silent, &mut partitions), None);
        assert_eq!(check(&mut silent, &mut partitions), None);
    }
}
