//! A record as a reader sees it, and how the views of two readers differ.

use std::collections::BTreeMap;

use change_feed::consumer::{ReceivedEvent, Record, RecordProblem};

pub(crate) use test_support::kafka::Record as Seen;

/// Partition and offset.
pub(crate) type Place = (i32, i64);

/// What an event's reader makes of a record: the event, or why it is none.
pub(crate) type Understood = Result<ReceivedEvent, RecordProblem>;

/// What our reader of events has to make of a record.
pub(crate) fn understood(record: &Seen, topic: &str) -> Understood {
    let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default()));
    let record = Record {
        topic: topic.into(),
        partition: record.partition.unsigned_abs(),
        offset: record.offset.unsigned_abs(),
        key: record.key.as_deref(),
        headers: headers.collect(),
        payload: record.value.as_deref(),
    };
    ReceivedEvent::parse(&record).map_err(|error| error.problem)
}

/// The places where two readers see something else, or one of them nothing; a record that one of them has twice too.
pub(crate) fn differences<T: PartialEq>(one: &[(Place, T)], other: &[(Place, T)]) -> Vec<Place> {
    let mut places: BTreeMap<Place, [Vec<&T>; 2]> = BTreeMap::new();
    for (side, records) in [one, other].into_iter().enumerate() {
        for (place, record) in records {
            places.entry(*place).or_default()[side].push(record);
        }
    }
    let differ = |[one, other]: &[Vec<&T>; 2]| one.len() != 1 || other.len() != 1 || one != other;
    places.into_iter().filter(|(_, seen)| differ(seen)).map(|(place, _)| place).collect()
}

/// Each record at its place.
pub(crate) fn placed(records: impl IntoIterator<Item = Seen>) -> Vec<(Place, Seen)> {
    records.into_iter().map(|record| (record.place(), record)).collect()
}

#[test]
fn every_way_in_which_a_record_can_be_seen_otherwise_is_a_difference() {
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    let record = |offset| Seen {
        partition: 1,
        offset,
        key: Some(b"k".to_vec()),
        value: Some(Vec::new()),
        headers: vec![header("a", Some(b"")), header("b", None)],
    };
    let whole = [record(4), record(7)];
    let seen = |damage: &dyn Fn(&mut Seen)| {
        let mut damaged = whole.clone();
        damage(&mut damaged[1]);
        differences(&placed(whole.clone()), &placed(damaged))
    };
    assert_eq!(seen(&|_| {}), []);
    assert_eq!(seen(&|record| record.value = None), [(1, 7)]);
    assert_eq!(seen(&|record| record.value = Some(b"{}".to_vec())), [(1, 7)]);
    assert_eq!(seen(&|record| record.key = Some(Vec::new())), [(1, 7)]);
    assert_eq!(seen(&|record| record.key = None), [(1, 7)]);
    assert_eq!(seen(&|record| record.headers.reverse()), [(1, 7)]);
    assert_eq!(seen(&|record| record.headers[0].1 = None), [(1, 7)]);
    assert_eq!(seen(&|record| record.headers[1].1 = Some(Vec::new())), [(1, 7)]);
    assert_eq!(seen(&|record| record.offset = 8), [(1, 7), (1, 8)]);
    let [first, second] = whole.clone();
    let all = placed(whole);
    assert_eq!(differences(&all, &placed([first.clone()])), [(1, 7)]);
    assert_eq!(differences(&placed([second.clone()]), &all), [(1, 4)]);
    assert_eq!(differences(&all, &placed([first, second.clone(), second])), [(1, 7)]);
}
