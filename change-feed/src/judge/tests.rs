//! The judge is judged: clean topics are clean, and each kind of damage is found as that kind alone.

use proptest::prelude::*;
use uuid::Uuid;

use super::history::{Expected, History};
use super::judge::{Delivery, Judge};
use super::observed::Observed;
use super::verdict::{FindingKind, Verdict};
use crate::feed::change::Mark;
use crate::feed::event::EventId;
use crate::feed::identity::{Epoch, FeedName};
use crate::feed::position::Position;
use crate::feed::transaction::{TransactionId, TransactionPlace};

const PARTITIONS: u32 = 3;

/// A record that can be damaged.
#[derive(Debug, Clone, PartialEq)]
struct Record {
    partition: u32,
    key: String,
    version: u64,
    event_id: EventId,
    feed: FeedName,
    epoch: Epoch,
    position: Position,
    transaction: Option<TransactionPlace>,
    withheld: bool,
    mark: Mark,
}

/// A history and the topic that it should give.
#[derive(Debug, Clone)]
struct Case {
    history: Vec<Row>,
    topic: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    key: String,
    version: u64,
    event_id: EventId,
    transaction: Option<TransactionId>,
}

/// Who tells of transactions.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Nowhere,
    ByHistory,
    ByRecords,
    ByBoth,
}

impl Told {
    fn by_history(self) -> bool {
        matches!(self, Told::ByHistory | Told::ByBoth)
    }

    fn by_records(self) -> bool {
        matches!(self, Told::ByRecords | Told::ByBoth)
    }
}

fn event_id(number: u64) -> EventId {
    EventId::new(Uuid::from_u64_pair(0x0198, number))
}

fn feed(name: &str) -> FeedName {
    FeedName::new(name).expect("a valid name")
}

fn record(key: &str, version: u64, event: u64) -> Record {
    Record {
        partition: 0,
        key: key.to_owned(),
        version,
        event_id: event_id(event),
        feed: feed("one"),
        epoch: Epoch::FIRST,
        position: Position::new('s', event, 0),
        transaction: None,
        withheld: false,
        mark: Mark::Change,
    }
}

fn row(key: &str, version: u64, event: u64) -> Row {
    Row { key: key.to_owned(), version, event_id: event_id(event), transaction: None }
}

/// Transactions as lists of keys, each list one transaction.
fn case(transactions: &[Vec<u8>], told: Told) -> Case {
    let mut case = Case { history: Vec::new(), topic: Vec::new() };
    let mut versions = [0u64; 256];
    for (id, keys) in transactions.iter().enumerate() {
        let id = id as u64 + 700;
        for (index, key) in keys.iter().enumerate() {
            versions[usize::from(*key)] += 1;
            let (name, version) = (format!("key-{key}"), versions[usize::from(*key)]);
            let event = case.history.len() as u64;
            let count = (index + 1 == keys.len()).then_some(keys.len() as u32);
            let place = TransactionPlace { count, ..TransactionPlace::new(id, index as u32) };
            case.history.push(Row { transaction: told.by_history().then(|| id.into()), ..row(&name, version, event) });
            case.topic.push(Record {
                partition: u32::from(*key) % PARTITIONS,
                transaction: told.by_records().then_some(place),
                ..record(&name, version, event)
            });
        }
    }
    case
}

fn any_told() -> impl Strategy<Value = Told> {
    prop_oneof![Just(Told::Nowhere), Just(Told::ByHistory), Just(Told::ByRecords), Just(Told::ByBoth)]
}

fn any_transactions() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(proptest::collection::vec(0u8..5, 1..5), 1..20)
}

/// Reads partition by partition, or as it was written.
fn judge_read(case: &Case, delivery: Delivery, side_by_side: bool) -> Verdict {
    let history: History = case
        .history
        .iter()
        .map(|row| Expected {
            key: &row.key,
            version: row.version,
            event_id: row.event_id,
            transaction: row.transaction.clone(),
        })
        .collect();
    observe(Judge::new(history, delivery), &case.topic, side_by_side)
}

fn observe(mut judge: Judge, topic: &[Record], side_by_side: bool) -> Verdict {
    let mut order: Vec<usize> = (0..topic.len()).collect();
    if !side_by_side {
        order.sort_by_key(|&at| topic[at].partition);
    }
    for at in order {
        let record = &topic[at];
        judge.observe(&Observed {
            partition: record.partition,
            offset: at as u64,
            key: &record.key,
            version: record.version,
            event_id: record.event_id,
            feed: &record.feed,
            epoch: record.epoch,
            position: &record.position,
            transaction: record.transaction.as_ref(),
            withheld: record.withheld,
            mark: record.mark,
        });
    }
    judge.verdict()
}

fn judge(case: &Case) -> Verdict {
    judge_read(case, Delivery::ExactlyOnce, true)
}

/// Exactly `count` findings of this kind, and none of another, however the topic is read.
fn assert_only(case: &Case, kind: FindingKind, count: Option<u64>) -> Result<(), TestCaseError> {
    for side_by_side in [true, false] {
        let verdict = judge_read(case, Delivery::ExactlyOnce, side_by_side);
        for other in FindingKind::ALL {
            match (other == kind, count) {
                (true, Some(count)) => prop_assert_eq!(verdict.total(kind), count, "{}\n{:#?}", verdict, case),
                (true, None) => prop_assert!(verdict.total(kind) > 0, "{}\n{:#?}", verdict, case),
                (false, _) => prop_assert_eq!(verdict.total(other), 0, "{}\n{:#?}", verdict, case),
            }
        }
    }
    Ok(())
}

/// The indexes of the records whose transaction has this many.
fn records_of_transactions(case: &Case, transactions: &[Vec<u8>], fits: impl Fn(usize) -> bool) -> Vec<usize> {
    let sizes = transactions.iter().flat_map(|keys| keys.iter().map(|_| keys.len()));
    let fitting: Vec<usize> = sizes.enumerate().filter(|(_, size)| fits(*size)).map(|(at, _)| at).collect();
    assert!(fitting.iter().all(|&at| at < case.topic.len()));
    fitting
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_topic_that_holds_the_history_is_clean(
        transactions in any_transactions(), told in any_told(), side_by_side: bool,
    ) {
        let case = case(&transactions, told);
        for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
            let verdict = judge_read(&case, delivery, side_by_side);
            prop_assert!(verdict.is_clean(), "{}", verdict);
            prop_assert_eq!(verdict.counts().published, case.history.len() as u64);
        }
    }

    #[test]
    fn a_dropped_event_is_missing(transactions in any_transactions(), told in any_told(), at: prop::sample::Index) {
        let mut case = case(&transactions, told);
        let single = records_of_transactions(&case, &transactions, |size| size == 1 || told == Told::Nowhere);
        prop_assume!(!single.is_empty());
        let dropped = case.topic.remove(*at.get(&single));
        assert_only(&case, FindingKind::Missing, Some(1))?;
        let verdict = judge(&case);
        let finding = &verdict.findings()[0];
        prop_assert_eq!((&*finding.key, finding.version), (&*dropped.key, dropped.version));
        prop_assert_eq!(finding.event_id, Some(dropped.event_id));
    }

    #[test]
    fn a_dropped_transaction_is_missing_and_not_torn(
        transactions in any_transactions(), told in any_told(), at: prop::sample::Index,
    ) {
        let mut case = case(&transactions, told);
        let at = at.index(transactions.len());
        let before: usize = transactions[..at].iter().map(Vec::len).sum();
        case.topic.drain(before..before + transactions[at].len());
        assert_only(&case, FindingKind::Missing, Some(transactions[at].len() as u64))?;
    }

    #[test]
    fn an_event_dropped_from_a_transaction_is_torn(
        transactions in any_transactions(), by_records: bool, at: prop::sample::Index,
    ) {
        let told = if by_records { Told::ByBoth } else { Told::ByHistory };
        let mut case = case(&transactions, told);
        let several = records_of_transactions(&case, &transactions, |size| size > 1);
        prop_assume!(!several.is_empty());
        case.topic.remove(*at.get(&several));
        assert_only(&case, FindingKind::Torn, Some(1))?;
    }

    #[test]
    fn records_alone_show_a_torn_transaction(transactions in any_transactions(), at: prop::sample::Index) {
        let mut case = case(&transactions, Told::ByRecords);
        let several = records_of_transactions(&case, &transactions, |size| size > 1);
        prop_assume!(!several.is_empty());
        case.topic.remove(*at.get(&several));
        let verdict = judge(&case);
        prop_assert_eq!((verdict.total(FindingKind::Torn), verdict.total(FindingKind::Missing)), (1, 1));
    }

    #[test]
    fn a_wrong_index_or_count_is_torn(
        transactions in any_transactions(), by_history: bool, at: prop::sample::Index, step in 1u32..9, count: bool,
    ) {
        let told = if by_history { Told::ByBoth } else { Told::ByRecords };
        let mut case = case(&transactions, told);
        let several = records_of_transactions(&case, &transactions, |size| size > 1);
        prop_assume!(!several.is_empty());
        let place = case.topic[*at.get(&several)].transaction.as_mut().expect("told by records");
        match &mut place.count {
            Some(of) if count => *of += step,
            _ => place.index = if step % 2 == 0 { place.index + step } else { place.index.wrapping_sub(step) },
        }
        assert_only(&case, FindingKind::Torn, Some(1))?;
    }

    #[test]
    fn an_uncounted_transaction_is_torn(transactions in any_transactions(), by_history: bool, at: prop::sample::Index) {
        let told = if by_history { Told::ByBoth } else { Told::ByRecords };
        let mut case = case(&transactions, told);
        let counts: Vec<_> =
            case.topic.iter_mut().filter_map(|record| record.transaction.as_mut()).filter(|place| place.count.is_some()).collect();
        let at = at.index(counts.len());
        counts.into_iter().nth(at).expect("within").count = None;
        assert_only(&case, FindingKind::Torn, Some(1))?;
    }

    #[test]
    fn a_record_that_comes_twice_is_duplicated_unless_that_is_allowed(
        transactions in any_transactions(), told in any_told(), at: prop::sample::Index, later: prop::sample::Index,
    ) {
        let mut case = case(&transactions, told);
        let at = at.index(case.topic.len());
        let later = at + 1 + later.index(case.topic.len() - at);
        case.topic.insert(later, case.topic[at].clone());
        assert_only(&case, FindingKind::Duplicated, Some(1))?;
        let relaxed = judge_read(&case, Delivery::AtLeastOnce, true);
        prop_assert!(relaxed.is_clean(), "{}", relaxed);
        prop_assert_eq!(relaxed.counts().redelivered, 1);
    }

    #[test]
    fn a_run_that_is_published_again_is_clean_at_least_once(
        transactions in any_transactions(), told in any_told(), from: prop::sample::Index, to: prop::sample::Index,
    ) {
        let mut case = case(&transactions, told);
        let to = 1 + to.index(case.topic.len());
        let again: Vec<_> = case.topic[from.index(to)..to].to_vec();
        let count = again.len() as u64;
        case.topic.splice(to..to, again);
        let verdict = judge_read(&case, Delivery::AtLeastOnce, true);
        prop_assert!(verdict.is_clean(), "{}", verdict);
        prop_assert_eq!(verdict.counts().redelivered, count);
    }

    #[test]
    fn two_swapped_records_of_a_key_are_inverted(
        transactions in any_transactions(), told in any_told(), at: prop::sample::Index,
    ) {
        let mut case = case(&transactions, told);
        let pairs: Vec<(usize, usize)> = (0..case.topic.len())
            .filter_map(|one| {
                let of_key = |at: &usize| case.topic[*at].key == case.topic[one].key;
                Some((one, (one + 1..case.topic.len()).find(of_key)?))
            })
            .collect();
        prop_assume!(!pairs.is_empty());
        let (one, other) = *at.get(&pairs);
        case.topic.swap(one, other);
        assert_only(&case, FindingKind::Inverted, Some(1))?;
        let relaxed = judge_read(&case, Delivery::AtLeastOnce, true);
        prop_assert_eq!(relaxed.total(FindingKind::Inverted), 1);
    }

    #[test]
    fn an_invented_record_is_extra(
        transactions in any_transactions(), told in any_told(), at: prop::sample::Index, known: bool, ahead in 1u64..4,
    ) {
        let mut case = case(&transactions, told);
        let at = at.index(case.topic.len());
        let model = case.topic[at].clone();
        let highest = case.history.iter().filter(|row| row.key == model.key).map(|row| row.version).max();
        let invented = Record {
            key: if known { model.key.clone() } else { "nobody".to_owned() },
            version: if known { highest.unwrap_or(0) + ahead } else { ahead },
            event_id: event_id(1_000_000),
            ..model
        };
        case.topic.insert(at, invented);
        assert_only(&case, FindingKind::Extra, Some(1))?;
    }

    #[test]
    fn another_events_id_is_conflicting(
        transactions in any_transactions(), told in any_told(), at: prop::sample::Index, beside: bool,
    ) {
        let mut case = case(&transactions, told);
        let at = at.index(case.topic.len());
        let forged = Record { event_id: event_id(1_000_000), ..case.topic[at].clone() };
        if beside {
            case.topic.insert(at + 1, forged);
        } else {
            case.topic[at] = forged;
        }
        assert_only(&case, FindingKind::Conflicting, Some(1))?;
        let relaxed = judge_read(&case, Delivery::AtLeastOnce, true);
        prop_assert_eq!(relaxed.total(FindingKind::Conflicting), 1);
    }

    #[test]
    fn a_record_in_another_partition_is_scattered(
        transactions in any_transactions(), told in any_told(), at: prop::sample::Index,
    ) {
        let mut case = case(&transactions, told);
        let accompanied: Vec<usize> = (0..case.topic.len())
            .filter(|&at| case.topic.iter().filter(|record| record.key == case.topic[at].key).count() > 1)
            .collect();
        prop_assume!(!accompanied.is_empty());
        case.topic[*at.get(&accompanied)].partition += PARTITIONS;
        assert_only(&case, FindingKind::Scattered, None)?;
    }

    #[test]
    fn a_version_without_any_event_is_a_gap(transactions in any_transactions(), at: prop::sample::Index) {
        let mut case = case(&transactions, Told::Nowhere);
        let inner: Vec<usize> = (0..case.topic.len())
            .filter(|&at| {
                let (key, version) = (&case.topic[at].key, case.topic[at].version);
                version > 1 && case.topic.iter().any(|record| record.key == *key && record.version > version)
            })
            .collect();
        prop_assume!(!inner.is_empty());
        let at = *at.get(&inner);
        case.topic.remove(at);
        case.history.remove(at);
        assert_only(&case, FindingKind::Gap, Some(1))?;
    }
}

fn plain(history: &[Row], topic: &[Record]) -> Verdict {
    judge(&Case { history: history.to_vec(), topic: topic.to_vec() })
}

fn replayed(record: Record) -> Record {
    Record { mark: Mark::Replay, ..record }
}

fn in_epoch(epoch: u32, record: Record) -> Record {
    Record { epoch: Epoch::new(epoch), ..record }
}

fn baseline(epoch: u32, key: &str, version: u64, event: u64) -> Record {
    Record { mark: Mark::Baseline, ..in_epoch(epoch, record(key, version, event)) }
}

#[test]
fn a_replay_is_neither_a_duplicate_nor_an_inversion() {
    let history = [row("a", 1, 1), row("a", 2, 2)];
    let once = [record("a", 1, 1), record("a", 2, 2)];
    let topic = [once.to_vec(), once.map(replayed).to_vec()].concat();
    let verdict = plain(&history, &topic);
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.counts().replays, 2);
}

#[test]
fn a_replay_of_what_never_was_is_extra() {
    let verdict = plain(&[row("a", 1, 1)], &[record("a", 1, 1), replayed(record("a", 2, 2))]);
    assert_eq!(verdict.total(FindingKind::Extra), 1);
}

#[test]
fn a_replay_repairs_what_was_missing() {
    let history = [row("a", 1, 1), row("a", 2, 2)];
    let verdict = plain(&history, &[record("a", 2, 2), replayed(record("a", 1, 1))]);
    assert!(verdict.is_clean(), "{verdict}");
}

#[test]
fn a_withheld_stub_counts_as_its_event_and_is_counted() {
    let stub = Record { withheld: true, ..record("a", 1, 1) };
    let verdict = plain(&[row("a", 1, 1)], &[stub]);
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.counts().withheld, 1);
}

#[test]
fn a_baseline_supersedes_what_a_restored_database_forgot() {
    // The database was restored to v2 and wrote another v3. Event 3 had a v4 after it.
    let history = [row("a", 1, 1), row("a", 2, 2), row("a", 3, 30)];
    let lost = [record("a", 3, 3), record("a", 4, 4)];
    let topic = [
        vec![record("a", 1, 1), record("a", 2, 2)],
        lost.to_vec(),
        vec![baseline(2, "a", 2, 900), in_epoch(2, record("a", 3, 30))],
    ];
    let verdict = plain(&history, &topic.concat());
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!((verdict.counts().superseded, verdict.counts().baselines), (2, 1));

    let unrepaired = plain(&history, &topic[..2].concat());
    assert_eq!(unrepaired.total(FindingKind::Extra), 1);
    assert_eq!(unrepaired.total(FindingKind::Conflicting), 1);
}

#[test]
fn what_a_restored_database_wrote_anew_is_missing_if_only_its_predecessor_was_published() {
    let history = [row("a", 1, 1), row("a", 2, 20)];
    let topic = [record("a", 1, 1), record("a", 2, 2), baseline(2, "a", 1, 900)];
    let verdict = plain(&history, &topic);
    assert_eq!(verdict.total(FindingKind::Missing), 1);
    assert_eq!(verdict.total(FindingKind::Conflicting), 0);
}

#[test]
fn a_baseline_covers_what_came_before_it_and_nothing_after() {
    let history = [row("a", 1, 1), row("a", 2, 2), row("a", 3, 3), row("a", 4, 4)];
    let topic = [record("a", 1, 1), baseline(2, "a", 3, 3)];
    let verdict = plain(&history, &topic);
    assert_eq!(verdict.counts().covered, 1);
    assert_eq!(verdict.total(FindingKind::Missing), 1);
    assert_eq!(verdict.findings()[0].version, 4);
}

#[test]
fn a_baseline_that_comes_twice_is_duplicated() {
    let history = [row("a", 1, 1), row("a", 2, 2)];
    let topic = [baseline(1, "a", 2, 900), baseline(1, "a", 2, 900)];
    assert_eq!(plain(&history, &topic).total(FindingKind::Duplicated), 1);
}

#[test]
fn a_record_of_an_earlier_epoch_after_a_later_one_is_inverted() {
    let history = [row("a", 1, 1), row("a", 2, 2)];
    let topic = [in_epoch(2, record("a", 1, 1)), record("a", 2, 2)];
    let verdict = plain(&history, &topic);
    assert_eq!(verdict.total(FindingKind::Inverted), 1);
}

#[test]
fn versions_that_were_pruned_from_the_outbox_are_no_phantoms() {
    let history = [row("a", 3, 3), row("a", 4, 4)];
    let all = [record("a", 1, 1), record("a", 2, 2), record("a", 3, 3), record("a", 4, 4)];
    let verdict = plain(&history, &all);
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.counts().pruned, 2);

    let without_2 = [all[0].clone(), all[2].clone(), all[3].clone()];
    let twice = [all[0].clone(), all[0].clone(), all[1].clone(), all[2].clone(), all[3].clone()];
    assert_eq!(plain(&history, &without_2).total(FindingKind::Gap), 1);
    assert_eq!(plain(&history, &twice).total(FindingKind::Duplicated), 1);
}

#[test]
fn a_transaction_that_was_pruned_in_part_is_not_torn() {
    let place = |index, count| Some(TransactionPlace { count, ..TransactionPlace::new(7, index) });
    let topic = [
        Record { transaction: place(1, Some(2)), ..record("b", 1, 2) },
        Record { transaction: place(0, None), ..record("a", 1, 1) },
        record("a", 2, 3),
    ];
    let history = [Row { transaction: Some(7.into()), ..row("b", 1, 2) }, row("a", 2, 3)];
    let verdict = plain(&history, &topic);
    assert!(verdict.is_clean(), "{verdict}");
    let without_the_pruned = plain(&history, &[topic[0].clone(), topic[2].clone()]);
    assert!(without_the_pruned.is_clean(), "{without_the_pruned}");
}

#[test]
fn two_events_of_one_version_in_the_history_conflict() {
    let verdict = plain(&[row("a", 1, 1), row("a", 1, 2)], &[record("a", 1, 1)]);
    assert_eq!(verdict.total(FindingKind::Conflicting), 1);
    assert_eq!(verdict.total(FindingKind::Missing), 0);
}

#[test]
fn records_after_the_position_of_the_history_are_not_judged() {
    let topic = [record("a", 1, 1), record("a", 2, 2), in_epoch(2, record("a", 3, 0))];
    let history: History =
        [Expected { key: "a", version: 1, event_id: event_id(1), transaction: None }].into_iter().collect();
    let judge = Judge::new(history, Delivery::ExactlyOnce).through(feed("one"), Epoch::FIRST, Position::new('s', 1, 0));
    let verdict = observe(judge, &topic, true);
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.counts().beyond, 2);
}

#[test]
fn an_empty_topic_of_an_empty_history_is_clean() {
    assert!(plain(&[], &[]).is_clean());
}

#[test]
fn findings_are_bounded_and_their_totals_are_not() {
    let history: History = (1..=100)
        .map(|version| Expected { key: "a", version, event_id: event_id(version), transaction: None })
        .collect();
    let judge = Judge::new(history, Delivery::ExactlyOnce).findings_per_kind_max(3);
    let extra: Vec<_> = (0..10).map(|event| record("b", 1, 500 + event)).collect();
    let verdict = observe(judge, &extra, true);
    assert_eq!(verdict.total(FindingKind::Missing), 100);
    assert_eq!(verdict.total(FindingKind::Extra), 10);
    assert_eq!(verdict.findings().len(), 6);
    assert!(verdict.to_string().ends_with("and 104 more"), "{verdict}");
}

#[test]
fn the_report_is_one_line_of_counts_and_a_line_for_each_finding() {
    let topic = [record("a", 1, 1), record("a", 1, 1), record("b", 7, 7)];
    let verdict = plain(&[row("a", 1, 1), row("a", 2, 2)], &topic);
    let expected = "\
VIOLATED: 2 events, 1 published, 3 records, missing 1, extra 1, duplicated 1, inverted 0, torn 0, gap 0, conflicting 0, scattered 0
  duplicated  a v1 event 00000000-0000-0198-0000-000000000001 at 0/1
  extra       b v7 event 00000000-0000-0198-0000-000000000007 at 0/2: no event of this key in the history
  missing     a v2 event 00000000-0000-0198-0000-000000000002: not published";
    assert_eq!(verdict.to_string(), expected);
}
