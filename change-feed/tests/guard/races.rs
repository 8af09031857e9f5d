//! Writers of many kinds at once on a few orders, some of them breaking every rule they can; then the oracle reads the
//! history. The same load on unsafe guards shows that the oracle sees what it is there to see.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use crate::guard::oracle::{Violation, violations};
use crate::guard::world::{Database, Refused, Role, Rules, Session, World, add, create, step};

const WRITERS: u64 = 12;
const CHANGES_PER_WRITER: u64 = 40;
/// How often a writer tries a transaction that others are in the way of.
const ATTEMPTS_LIMIT: u32 = 20;
/// How often an unsafe guard may be lucky.
const ROUNDS_LIMIT: u32 = 25;

/// What a writer does in one transaction. The first are legal, the others are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Add,
    AddInSavepoints,
    Remove,
    Move,
    ChangeQuantity,
    Cancel,
    AddWithoutStep,
    AddBeforeStep,
    AddAfterEvent,
    RemoveWithoutStep,
    EventWithoutStep,
    TwoStepsOneEvent,
    StepWithoutEvent,
    OpenAgain,
    DeleteAndInsertAgain,
}

const KINDS: [Kind; 15] = [
    Kind::Add,
    Kind::AddWithoutStep,
    Kind::AddInSavepoints,
    Kind::AddBeforeStep,
    Kind::Remove,
    Kind::TwoStepsOneEvent,
    Kind::Move,
    Kind::EventWithoutStep,
    Kind::ChangeQuantity,
    Kind::RemoveWithoutStep,
    Kind::Cancel,
    Kind::OpenAgain,
    Kind::AddAfterEvent,
    Kind::StepWithoutEvent,
    Kind::DeleteAndInsertAgain,
];

impl Kind {
    fn is_legal(self) -> bool {
        self <= Self::Cancel
    }
}

/// What came of the transactions of a load, by kind and answer.
type Answers = BTreeMap<(Kind, String), u32>;

/// The orders that the writers meet on. A cancelled one is replaced by whoever notices.
struct Orders(Mutex<Vec<String>>);

impl Orders {
    fn at(&self, place: u64) -> String {
        let orders = self.0.lock().expect("no writer panicked");
        orders[usize::try_from(place).expect("small") % orders.len()].clone()
    }

    fn replace(&self, old: &str, new: String) {
        let mut orders = self.0.lock().expect("no writer panicked");
        if let Some(order) = orders.iter_mut().find(|order| *order == old) {
            *order = new;
        }
    }
}

/// Runs the load with these kinds of changes, and answers what came of it.
async fn run(world: &Arc<World>, isolation: &'static str, kinds: &'static [Kind]) -> Answers {
    let orders = Arc::new(Orders(Mutex::new(Vec::new())));
    let mut first = world.session(Role::Application).await;
    for _ in 0..3 {
        let order = new_order(&mut first).await;
        orders.0.lock().expect("nobody else yet").push(order);
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (world, orders) = (Arc::clone(world), Arc::clone(&orders));
        writers.spawn(async move {
            let mut session = world.session(Role::Application).await;
            session.hurry().await;
            let mut answers = Answers::new();
            for change in 0..CHANGES_PER_WRITER {
                let seed = scatter(writer * CHANGES_PER_WRITER + change);
                let kind = kinds[usize::try_from(seed % kinds.len() as u64).expect("small")];
                let (order, other) = (orders.at(seed >> 8), orders.at(seed >> 16));
                let item = some_item(&mut session, &order).await;
                let statements = statements(kind, &order, &other, &item);
                let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
                let answer = insist(&mut session, isolation, &statements).await;
                if answer == "orders_is_final" && kind.is_legal() {
                    let new = new_order(&mut session).await;
                    orders.replace(&order, new);
                }
                *answers.entry((kind, answer)).or_default() += 1;
            }
            answers
        });
    }
    let mut all = Answers::new();
    for answers in writers.join_all().await {
        for (what, count) in answers {
            *all.entry(what).or_default() += count;
        }
    }
    all
}

/// Runs a transaction again for as long as it is another one that is in the way, as a program should. Answers what
/// refused it otherwise.
async fn insist(session: &mut Session, isolation: &str, statements: &[&str]) -> String {
    let mut answer = "nobody asked".to_owned();
    for _ in 0..ATTEMPTS_LIMIT {
        answer = match session.transaction(isolation, statements).await {
            Ok(()) => "committed".to_owned(),
            Err(Refused { by, .. }) => by,
        };
        if !matches!(answer.as_str(), "40001" | "40P01") {
            break;
        }
    }
    answer
}

/// Numbers that differ in all their bits, the same in every run: the races differ by themselves.
fn scatter(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 7
}

async fn new_order(session: &mut Session) -> String {
    let order = format!("'{}'", Uuid::now_v7());
    let event = of_present_version(&order, "'created'", "");
    session.transaction("", &[&create(&order), &event]).await.expect("a new order");
    order
}

/// An item of the order, or an id of none.
async fn some_item(session: &mut Session, order: &str) -> String {
    let query = format!("select cast(item_id as text) from order_items where order_id = {order} order by 1 limit 1");
    let found = session.rows(&query).await.pop().and_then(|mut row| row.remove(0));
    format!("'{}'", found.unwrap_or_else(|| Uuid::now_v7().to_string()))
}

fn statements(kind: Kind, order: &str, other: &str, item: &str) -> Vec<String> {
    let new = format!("'{}'", Uuid::now_v7());
    let told = |event_type: &str, item: &str| of_present_version(order, &format!("'{event_type}'"), item);
    let remove = format!("delete from order_items where order_id = {order} and item_id = {item}");
    match kind {
        Kind::Add => vec![step(order), add(order, &new), told("added", &new)],
        Kind::AddInSavepoints => vec![
            "savepoint s".into(),
            step(order),
            add(order, item),
            "rollback to s".into(),
            "savepoint t".into(),
            step(order),
            "release t".into(),
            "savepoint u".into(),
            add(order, &new),
            "release u".into(),
            told("added", &new),
        ],
        Kind::Remove => vec![step(order), remove, told("removed", item)],
        Kind::Move if order != other => moved(order, other, item),
        Kind::Move | Kind::ChangeQuantity => {
            let change = format!("update order_items set quantity = quantity + 1 where order_id = {order}");
            vec![step(order), change, told("changed", "")]
        }
        Kind::Cancel => {
            let cancel =
                format!("update orders set version = version + 1, status = 'cancelled' where order_id = {order}");
            vec![cancel, told("cancelled", "")]
        }
        Kind::AddWithoutStep => vec![add(order, &new)],
        Kind::AddBeforeStep => vec![add(order, &new), step(order), told("added", &new)],
        Kind::AddAfterEvent => vec![step(order), told("changed", ""), add(order, &new)],
        Kind::RemoveWithoutStep => vec![remove],
        Kind::EventWithoutStep => vec![format!(
            "insert into order_events (order_id, version, event_type, payload)
             select order_id, version + 1, 'changed', '{{}}' from orders where order_id = {order}"
        )],
        Kind::TwoStepsOneEvent => vec![step(order), step(order), told("changed", "")],
        Kind::StepWithoutEvent => vec![step(order)],
        Kind::OpenAgain => vec!["update orders set status = 'open' where status = 'cancelled'".into()],
        Kind::DeleteAndInsertAgain => {
            let items = format!("delete from order_items where order_id = {order}");
            vec![items, format!("delete from orders where order_id = {order}"), create(order)]
        }
    }
}

/// An item goes from one order to another, if it is still there when both have stepped, in one order for all writers.
fn moved(from: &str, to: &str, item: &str) -> Vec<String> {
    let (first, second) = if from < to { (from, to) } else { (to, from) };
    let arrived = format!("exists (select 1 from order_items where order_id = {to} and item_id = {item})");
    vec![
        step(first),
        step(second),
        format!("update order_items set order_id = {to} where order_id = {from} and item_id = {item}"),
        of_present_version(from, &format!("case when {arrived} then 'removed' else 'changed' end"), item),
        of_present_version(to, &format!("case when {arrived} then 'added' else 'changed' end"), item),
    ]
}

/// The event of whatever version the order has.
fn of_present_version(order: &str, event_type: &str, item: &str) -> String {
    let item = item.replace('\'', "");
    format!(
        "insert into order_events (order_id, version, event_type, payload)
         select order_id, version, {event_type}, '{{\"item\":\"{item}\"}}' from orders where order_id = {order}"
    )
}

async fn the_history_is_whole(database: Database, isolation: &'static str) {
    let world = Arc::new(World::empty(database, Rules::Guard).await);
    let answers = run(&world, isolation, &KINDS).await;
    println!("{database:?} {isolation}: {answers:#?}");
    for kind in KINDS {
        let of_kind = answers.iter().filter(|((of, _), _)| *of == kind);
        let committed: u32 = of_kind.clone().filter(|((_, answer), _)| answer == "committed").map(|(_, n)| n).sum();
        let refused: u32 = of_kind.filter(|((_, answer), _)| answer != "committed").map(|(_, n)| n).sum();
        // Opening again is an update of no row until something is cancelled; removing, of an item that is gone.
        let may_touch_nothing = matches!(kind, Kind::OpenAgain | Kind::RemoveWithoutStep);
        assert!(
            if kind.is_legal() { committed > 0 } else { committed == 0 || may_touch_nothing },
            "{kind:?} {answers:?}"
        );
        assert!(kind.is_legal() || refused > 0, "{kind:?} was never refused: {answers:?}");
    }
    assert_eq!(violations(&mut world.session(Role::Owner).await).await, [], "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_whole_at_read_committed() {
    the_history_is_whole(Database::Postgres, "isolation level read committed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_whole_at_repeatable_read() {
    the_history_is_whole(Database::Postgres, "isolation level repeatable read").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_whole_at_serializable() {
    the_history_is_whole(Database::Postgres, "isolation level serializable").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_whole_on_sqlite() {
    the_history_is_whole(Database::Sqlite, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_whole_on_sqlite_with_the_key_declared() {
    the_history_is_whole(Database::SqliteWithKey, "").await;
}

/// Repeats the load on an unsafe guard until the oracle has seen each of the violations that it is known for.
async fn is_seen_failing(
    database: Database,
    rules: Rules,
    kinds: &'static [Kind],
    expected: &[fn(&Violation) -> bool],
) {
    let mut seen = vec![false; expected.len()];
    for round in 1..=ROUNDS_LIMIT {
        let world = Arc::new(World::empty(database, rules).await);
        run(&world, "", kinds).await;
        let found = violations(&mut world.session(Role::Owner).await).await;
        for (seen, is_expected) in seen.iter_mut().zip(expected) {
            *seen |= found.iter().any(is_expected);
        }
        if seen.iter().all(|seen| *seen) {
            println!("{database:?} {rules:?}: seen in round {round}");
            return;
        }
    }
    panic!("{rules:?} held in {ROUNDS_LIMIT} rounds, or the oracle is blind: {seen:?}");
}

const AGAINST_A_KEY_ALONE: &[Kind] =
    &[Kind::TwoStepsOneEvent, Kind::EventWithoutStep, Kind::AddWithoutStep, Kind::Cancel, Kind::OpenAgain];
const BROKEN_BY_A_KEY_ALONE: &[fn(&Violation) -> bool] = &[
    |violation| matches!(violation, Violation::Hole { .. }),
    |violation| matches!(violation, Violation::EventWithoutVersion { .. }),
    |violation| matches!(violation, Violation::ItemsWithoutEvent { .. }),
    |violation| matches!(violation, Violation::StateWithoutEvent { .. }),
    |violation| matches!(violation, Violation::EventAfterTheEnd { .. }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_key_alone_is_seen_failing_on_postgres() {
    is_seen_failing(Database::Postgres, Rules::KeyAlone, AGAINST_A_KEY_ALONE, BROKEN_BY_A_KEY_ALONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_key_alone_is_seen_failing_on_sqlite() {
    is_seen_failing(Database::SqliteWithKey, Rules::KeyAlone, AGAINST_A_KEY_ALONE, BROKEN_BY_A_KEY_ALONE).await;
}

/// Every writer keeps to its part of the bargain, and still an item enters an order that is being cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_only_reads_is_seen_failing() {
    let after_the_end: &[fn(&Violation) -> bool] =
        &[|violation| matches!(violation, Violation::EventAfterTheEnd { .. })];
    is_seen_failing(Database::Postgres, Rules::PlainRead, &[Kind::AddBeforeStep, Kind::Cancel], after_the_end).await;
}

/// A number that is drawn before the lock overtakes that of whoever has the lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_drawn_before_the_lock_is_seen_failing() {
    let inverted: &[fn(&Violation) -> bool] = &[|violation| matches!(violation, Violation::Inversion { .. })];
    is_seen_failing(Database::Postgres, Rules::NumberBeforeLock, &[Kind::EventWithoutStep], inverted).await;
}
