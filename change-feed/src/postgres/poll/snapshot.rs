//! What a PostgreSQL snapshot sees, and what the next one sees beside it.

use std::fmt::{self, Write as _};
use std::num::ParseIntError;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A `pg_snapshot`: which transactions had ended when it was taken.
///
/// Its text form is the server's, `xmin:xmax:xip,xip,…`, in 64-bit transaction ids that never wrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Every transaction below has ended.
    xmin: u64,
    /// No transaction at or above had ended.
    xmax: u64,
    /// The transactions in between that were running, in ascending order.
    running: Vec<u64>,
}

impl Snapshot {
    /// Sees nothing: transaction ids start at 3.
    pub(super) const NOTHING: Snapshot = Snapshot { xmin: 1, xmax: 1, running: Vec::new() };

    /// Whether it sees what transaction `xid` did, if that committed.
    pub(super) fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// Whether this snapshot can have been taken after `earlier` in one history: what ended stays ended.
    pub(super) fn follows(&self, earlier: &Snapshot) -> bool {
        self.xmax >= earlier.xmax
            && self.xmin >= earlier.xmin
            && !self.running.iter().any(|&running| earlier.sees(running))
    }

    /// The transactions that `later` sees and this snapshot doesn't, as ranges in ascending order.
    ///
    /// They are exact, not an approximation: a transaction that is still running has no range, so a
    /// poll does not even pass over the rows that it has written so far.
    pub(super) fn unseen_until(&self, later: &Snapshot) -> Vec<RangeInclusive<u64>> {
        let ended_since = self.running.iter().copied().filter(|&xid| later.sees(xid));
        let mut ranges: Vec<_> = ended_since.map(|xid| xid..=xid).collect();
        let mut low = self.xmax;
        let still_running = later.running.iter().copied().filter(|&xid| xid >= self.xmax);
        for stop in still_running.chain([later.xmax]) {
            if low < stop {
                ranges.push(low..=stop - 1);
            }
            low = low.max(stop + 1);
        }
        ranges
    }

    /// The same snapshot as far as transaction `highest`, whose commit is on the disk; it sees nothing above.
    ///
    /// A snapshot also counts transactions that never wrote to the log, or whose log a crash erases: PostgreSQL
    /// gives their ids out again after the crash, to transactions that do commit. A position that claims to have
    /// seen those ids would skip their rows. The ids up to one that is on the disk are never given out again.
    pub(super) fn through(&self, highest: u64) -> Snapshot {
        let xmax = self.xmax.min(highest + 1);
        let running: Vec<u64> = self.running.iter().copied().filter(|&xid| xid < xmax).collect();
        let xmin = running.first().copied().unwrap_or(xmax);
        Snapshot { xmin, xmax, running }
    }

    /// The highest transaction that it may see; 0 if it sees nothing.
    pub(super) fn highest(&self) -> u64 {
        self.xmax - 1
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (n, running) in self.running.iter().enumerate() {
            if n > 0 {
                f.write_char(',')?;
            }
            write!(f, "{running}")?;
        }
        Ok(())
    }
}

/// A text that is not a snapshot.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the text of a pg_snapshot")]
pub(super) struct InvalidSnapshot;

impl From<ParseIntError> for InvalidSnapshot {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

impl FromStr for Snapshot {
    type Err = InvalidSnapshot;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields = text.split(':');
        let (Some(xmin), Some(xmax), Some(running), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(InvalidSnapshot);
        };
        let (xmin, xmax) = (xmin.parse()?, xmax.parse()?);
        let running: Vec<u64> = match running {
            "" => Vec::new(),
            list => list.split(',').map(str::parse).collect::<Result<_, _>>()?,
        };
        let ascending = running.windows(2).all(|pair| pair[0] < pair[1]);
        let within = running.iter().all(|xid| (xmin..xmax).contains(xid));
        if xmin == 0 || xmax < xmin || !ascending || !within {
            return Err(InvalidSnapshot);
        }
        Ok(Self { xmin, xmax, running })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    /// Two snapshots of one history: transactions start in the order of their ids and end in any order.
    fn earlier_and_later() -> impl Strategy<Value = (Snapshot, Snapshot)> {
        (1_u64..40, 0_u64..40).prop_flat_map(|(first, more)| {
            let running_then = proptest::sample::subsequence((3..3 + first).collect::<Vec<_>>(), 0..=first as usize);
            (Just(first), Just(more), running_then).prop_flat_map(|(first, more, running_then)| {
                let alive: Vec<u64> = running_then.iter().copied().chain(3 + first..3 + first + more).collect();
                let count = alive.len();
                let running_now = proptest::sample::subsequence(alive, 0..=count);
                (Just(first), Just(more), Just(running_then), running_now)
                    .prop_map(|(first, more, then, now)| (snapshot(3 + first, then), snapshot(3 + first + more, now)))
            })
        })
    }

    fn snapshot(xmax: u64, running: Vec<u64>) -> Snapshot {
        let xmin = running.first().copied().unwrap_or(xmax);
        Snapshot { xmin, xmax, running }
    }

    proptest! {
        #[test]
        fn the_ranges_hold_exactly_what_the_later_snapshot_sees_and_the_earlier_does_not(
            (earlier, later) in earlier_and_later(),
        ) {
            prop_assert!(later.follows(&earlier));
            let ranges = earlier.unseen_until(&later);
            let inside: Vec<u64> = ranges.into_iter().flatten().collect();
            let expected: Vec<u64> = (0..200).filter(|&xid| later.sees(xid) && !earlier.sees(xid)).collect();
            prop_assert_eq!(inside, expected);
        }

        #[test]
        fn consecutive_windows_give_every_transaction_once((earlier, later) in earlier_and_later()) {
            let first: Vec<u64> = Snapshot::NOTHING.unseen_until(&earlier).into_iter().flatten().collect();
            let second: Vec<u64> = earlier.unseen_until(&later).into_iter().flatten().collect();
            let both: BTreeSet<u64> = first.iter().chain(&second).copied().collect();
            prop_assert_eq!(both.len(), first.len() + second.len());
            prop_assert!((3..later.xmax).all(|xid| both.contains(&xid) == later.sees(xid)));
        }

        #[test]
        fn a_snapshot_through_a_transaction_sees_the_same_up_to_it_and_nothing_above(
            (snapshot, _) in earlier_and_later(),
            highest in 0_u64..60,
        ) {
            let through = snapshot.through(highest);
            prop_assert!((1..200).all(|xid| through.sees(xid) == (xid <= highest && snapshot.sees(xid))));
            prop_assert!(snapshot.follows(&through));
            prop_assert_eq!(through.to_string().parse::<Snapshot>(), Ok(through));
        }

        #[test]
        fn the_text_reads_back((earlier, _) in earlier_and_later()) {
            prop_assert_eq!(earlier.to_string().parse::<Snapshot>(), Ok(earlier));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "[0-9:,x]{0,20}") {
            let _: Result<Snapshot, _> = text.parse::<Snapshot>();
        }
    }

    #[test]
    fn the_servers_text_is_understood() {
        let snapshot: Snapshot = "10:20:10,14,15".parse().expect("the documentation's own example");
        assert!(snapshot.sees(9) && snapshot.sees(11) && snapshot.sees(19));
        assert!(!snapshot.sees(10) && !snapshot.sees(15) && !snapshot.sees(20));
        assert!(!Snapshot::NOTHING.sees(3));
    }

    #[test]
    fn malformed_snapshots_are_refused() {
        for text in
            ["", "1:2", "0:0:", "5:4:", "1:9:3,2", "3:9:2", "3:9:9", "1:2:3:4", "a:b:", "18446744073709551616:1:"]
        {
            assert_eq!(text.parse::<Snapshot>(), Err(InvalidSnapshot), "{text:?}");
        }
    }

    #[test]
    fn a_snapshot_of_another_history_does_not_follow() {
        let seen: Snapshot = "10:20:12".parse().expect("well formed");
        for restored in ["10:19:12", "9:20:9,12", "10:21:12,13"] {
            let restored: Snapshot = restored.parse().expect("well formed");
            assert!(!restored.follows(&seen), "{restored}");
        }
        assert!(seen.follows(&seen));
    }
}
