//! What a history must be, whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use change_feed::outbox::Dialect;

use crate::guard::world::Session;

/// What is wrong with a history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    /// A version below the present one has no event.
    Hole { order: String, version: i64 },
    /// The present version has no event.
    HeadWithoutEvent { order: String, version: i64 },
    /// An event is above the present version, or of an order that is not there.
    EventWithoutVersion { order: String, version: i64 },
    /// A version's sequence number is not above the one before.
    Inversion { order: String, version: i64 },
    /// An event after the one that cancelled.
    EventAfterTheEnd { order: String, version: i64 },
    /// Items that are not those which the events tell of.
    ItemsWithoutEvent { order: String, told: Vec<String>, found: Vec<String> },
    /// A state that is not the one which the events tell of.
    StateWithoutEvent { order: String, told: String, found: String },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Reads the whole history. Events of the types `added`, `changed_quantity`, `removed` (payload: the item's id), `cancelled`
/// and `reopened` are folded and compared with the tables; other types tell of nothing.
pub(crate) async fn violations(session: &mut Session) -> Vec<Violation> {
    let payload = match session.dialect() {
        Dialect::Postgres => "payload ->> 'item'",
        _ => "json_extract(payload, '$.item')",
    };
    let orders =
        session.rows("select cast(order_id as text), cast(version as text), status from orders order by 1").await;
    let events = session
        .rows(&format!(
            "select cast(order_id as text), cast(version as text), cast(sequence as text), event_type, {payload}
               from order_events e order by e.order_id, e.version, e.sequence"
        ))
        .await;
    let items =
        session.rows("select cast(order_id as text), cast(item_id as text) from order_items order by 1, 2").await;
    judge(&orders, &events, &items)
}

fn judge(orders: &[Texts], events: &[Texts], items: &[Texts]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut histories: BTreeMap<&str, Vec<Told<'_>>> = BTreeMap::new();
    for event in events {
        histories.entry(text(event, 0)).or_default().push(Told {
            version: number(event, 1),
            sequence: number(event, 2),
            event_type: text(event, 3),
            item: event[4].as_deref(),
        });
    }
    for order in orders {
        let (id, version, status) = (text(order, 0), number(order, 1), text(order, 2));
        let history = histories.remove(id).unwrap_or_default();
        found.extend(judge_versions(id, version, &history));
        let has = items.iter().filter(|item| text(item, 0) == id).map(|item| text(item, 1).to_owned()).collect();
        found.extend(judge_content(id, status, has, &history));
    }
    for (order, history) in histories {
        let orphans = history.iter().map(|event| event.version);
        found.extend(orphans.map(|version| Violation::EventWithoutVersion { order: order.to_owned(), version }));
    }
    found
}

type Texts = Vec<Option<String>>;

struct Told<'a> {
    version: i64,
    sequence: i64,
    event_type: &'a str,
    item: Option<&'a str>,
}

fn judge_versions(id: &str, version: i64, history: &[Told<'_>]) -> Vec<Violation> {
    let order = || id.to_owned();
    let mut found = Vec::new();
    let told = |version| history.iter().any(|event| event.version == version);
    found.extend(
        (1..version).filter(|version| !told(*version)).map(|version| Violation::Hole { order: order(), version }),
    );
    if !told(version) {
        found.push(Violation::HeadWithoutEvent { order: order(), version });
    }
    let above = history.iter().filter(|event| event.version > version || event.version < 1);
    found.extend(above.map(|event| Violation::EventWithoutVersion { order: order(), version: event.version }));
    let pairs = history.windows(2).filter(|pair| pair[0].sequence >= pair[1].sequence);
    found.extend(pairs.map(|pair| Violation::Inversion { order: order(), version: pair[1].version }));
    let end = history.iter().position(|event| event.event_type == "cancelled");
    let after = history.iter().skip(end.map_or(history.len(), |end| end + 1));
    found.extend(after.map(|event| Violation::EventAfterTheEnd { order: order(), version: event.version }));
    found
}

fn judge_content(id: &str, status: &str, mut has: Vec<String>, history: &[Told<'_>]) -> Vec<Violation> {
    let mut found = Vec::new();
    // A set: an item that was moved twice at once is told of twice where it arrived.
    let mut told = BTreeSet::new();
    let mut told_status = "open";
    for event in history {
        match (event.event_type, event.item) {
            ("added", Some(item)) => drop(told.insert(item.to_owned())),
            ("removed", Some(item)) => drop(told.remove(item)),
            ("cancelled", _) => told_status = "cancelled",
            _ => {}
        }
    }
    let told: Vec<String> = told.into_iter().collect();
    has.sort();
    if told_status != status {
        let (told, found_status) = (told_status.to_owned(), status.to_owned());
        found.push(Violation::StateWithoutEvent { order: id.to_owned(), told, found: found_status });
    }
    if told != has {
        found.push(Violation::ItemsWithoutEvent { order: id.to_owned(), told, found: has });
    }
    found
}

fn text(row: &Texts, column: usize) -> &str {
    row[column].as_deref().expect("a column that is not null")
}

fn number(row: &Texts, column: usize) -> i64 {
    text(row, column).parse().expect("a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[&str]) -> Texts {
        columns.iter().map(|text| (!text.is_empty()).then(|| (*text).to_owned())).collect()
    }

    /// One order `a` at version 3 with the item `x`, and its history: created, `x` added, `y` added and removed.
    fn judged(change: impl FnOnce(&mut Vec<Texts>, &mut Vec<Texts>, &mut Vec<Texts>)) -> Vec<Violation> {
        let mut orders = vec![row(&["a", "4", "open"])];
        let mut events = vec![
            row(&["a", "1", "10", "created", ""]),
            row(&["a", "2", "20", "added", "x"]),
            row(&["a", "3", "30", "added", "y"]),
            row(&["a", "4", "40", "removed", "y"]),
        ];
        let mut items = vec![row(&["a", "x"])];
        change(&mut orders, &mut events, &mut items);
        judge(&orders, &events, &items)
    }

    fn set(rows: &mut [Texts], row: usize, column: usize, text: &str) {
        rows[row][column] = Some(text.to_owned());
    }

    #[test]
    fn a_whole_history_has_no_violation() {
        assert_eq!(judged(|_, _, _| {}), []);
    }

    #[test]
    fn each_violation_is_seen() {
        let a = || "a".to_owned();
        let one = |change: fn(&mut Vec<Texts>, &mut Vec<Texts>, &mut Vec<Texts>)| judged(change);
        assert_eq!(one(|_, events, _| drop(events.remove(0))), [Violation::Hole { order: a(), version: 1 }]);
        assert_eq!(
            one(|orders, _, _| set(orders, 0, 1, "5")),
            [Violation::HeadWithoutEvent { order: a(), version: 5 }]
        );
        assert_eq!(
            one(|_, events, _| events.push(row(&["a", "5", "50", "changed", ""]))),
            [Violation::EventWithoutVersion { order: a(), version: 5 }]
        );
        assert_eq!(
            one(|_, events, _| events.push(row(&["b", "1", "50", "created", ""]))),
            [Violation::EventWithoutVersion { order: "b".to_owned(), version: 1 }]
        );
        assert_eq!(one(|_, events, _| set(events, 2, 2, "15")), [Violation::Inversion { order: a(), version: 3 }]);
        let (told, found) = (vec!["x".to_owned()], vec!["x".to_owned(), "z".to_owned()]);
        assert_eq!(
            one(|_, _, items| items.push(row(&["a", "z"]))),
            [Violation::ItemsWithoutEvent { order: a(), told, found }]
        );
        assert_eq!(
            one(|orders, _, _| set(orders, 0, 2, "cancelled")),
            [Violation::StateWithoutEvent { order: a(), told: "open".to_owned(), found: "cancelled".to_owned() }]
        );
        let ended = one(|orders, events, _| {
            set(orders, 0, 2, "cancelled");
            set(events, 2, 3, "cancelled");
        });
        assert_eq!(ended, [Violation::EventAfterTheEnd { order: a(), version: 4 }]);
    }
}
