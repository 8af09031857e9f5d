//! Writers through the store and writers with SQL of their own, honest and not, race on few orders; an oracle reads the
//! tables afterwards.

use std::sync::Arc;

use order_domain::OrderId;
use order_store::{OrderStore, Request, StoreError};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::world::{Database, World, milk, noon, pieces};

const STORE_WRITERS: u64 = 4;
const RAW_WRITERS: u64 = 6;
const ORDERS: usize = 3;
const ROUNDS: usize = 4;
const CHANGES: usize = 25;

/// What another program tries, and whether it may. `$A` and `$B` are two of the orders, `$I` is a new item; `STEP x;` steps
/// an order's version, `EVENT x type;` appends its event, `ADD x;` adds the new item.
const TRIES: &[(&str, bool)] = &[
    ("STEP $A; ADD $A; EVENT $A item_added;", true),
    ("savepoint a; STEP $A; ADD $A; EVENT $A item_added; release a;", true),
    ("savepoint a; STEP $A; ADD $A; rollback to a; STEP $A; ADD $A; EVENT $A item_added;", true),
    (
        "STEP $A; ADD $A; EVENT $A item_added; STEP $A; delete from order_items where order_id = '$A' and item_id = '$I'; EVENT $A item_removed;",
        true,
    ),
    ("update orders set version = version + 1, status = 'cancelled' where order_id = '$A'; EVENT $A cancelled;", true),
    ("ADD $A;", false),
    ("EVENT $A item_added;", false),
    ("STEP $A;", false),
    ("STEP $A; STEP $A; EVENT $A item_added;", false),
    ("EVENT $A item_added; STEP $A; ADD $A;", false),
    ("STEP $A; EVENT $A item_added; ADD $A;", false),
    ("savepoint a; STEP $A; rollback to a; ADD $A; EVENT $A item_added;", false),
    ("STEP $A; savepoint a; EVENT $A item_added; rollback to a; ADD $A;", false),
    (
        "update orders set version = version + 1, status = 'cancelled' where order_id = '$A'; EVENT $A cancelled; STEP $A; ADD $A; EVENT $A item_added;",
        false,
    ),
    ("delete from order_items where order_id = '$A'; delete from orders where order_id = '$A';", false),
    (
        "STEP $A; ADD $A; update order_items set order_id = '$B' where order_id = '$A' and item_id = '$I'; EVENT $A item_added;",
        false,
    ),
    (
        "insert into orders (order_id, customer_id, currency) values ('$A', '$A', 'EUR') on conflict (order_id) do update set status = 'open', version = 1;",
        false,
    ),
];

/// What the oracle counts; all of it is 0 where the rules hold.
const ORACLE: &[(&str, &str)] = &[
    (
        "orders whose versions and events aren't 1, 2, 3 …",
        "select count(*) from orders o where version <> (select count(distinct version) from order_events e where e.order_id = o.order_id)
            or version <> (select count(*) from order_events e where e.order_id = o.order_id)
            or version <> (select max(version) from order_events e where e.order_id = o.order_id)",
    ),
    (
        "events in another order than their versions",
        "select count(*) from order_events a join order_events b on a.order_id = b.order_id and a.version < b.version and a.sequence > b.sequence",
    ),
    (
        "events after a cancellation",
        "select count(*) from order_events a join order_events b on a.order_id = b.order_id and a.version > b.version where b.event_type = 'cancelled'",
    ),
    (
        "cancelled orders without a cancellation, and the reverse",
        "select count(*) from orders o where (status = 'cancelled') <> exists (select 1 from order_events e where e.order_id = o.order_id and event_type = 'cancelled')",
    ),
    (
        "orders with items that no event tells of, or too few",
        "select count(*) from orders o where (select count(*) from order_items i where i.order_id = o.order_id)
            <> (select count(*) from order_events e where e.order_id = o.order_id and event_type = 'item_added')
             - (select count(*) from order_events e where e.order_id = o.order_id and event_type = 'item_removed')",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_race_breaks_the_rules_on_postgres_at_any_isolation_level() {
    for isolation in ["read committed", "repeatable read", "serializable"] {
        no_race_breaks_the_rules(World::postgres_at(isolation).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_race_breaks_the_rules_on_sqlite() {
    no_race_breaks_the_rules(World::sqlite().await).await;
}

async fn no_race_breaks_the_rules(world: World) {
    let world = Arc::new(world);
    let (legal, illegal) = race(&world).await;
    assert!(legal > RAW_WRITERS, "the honest ones got through: {legal}");
    assert_eq!(illegal, 0, "changes against the rules were committed");
    assert_eq!(violations(&world).await, Vec::<String>::new());
}

/// An oracle that can't fail proves nothing: without the guard's triggers it has to see the same race go wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_guard_the_oracle_sees_the_rules_broken() {
    let world = World::postgres().await;
    let disable = "alter table orders disable trigger user; alter table order_items disable trigger user;
        alter table order_events disable trigger user; alter table orders drop constraint orders_version_has_event;
        alter table order_events alter sequence set default nextval('order_events_sequence')";
    world.raw(disable).await.unwrap();
    let world = Arc::new(world);
    let (_, illegal) = race(&world).await;
    assert!(illegal > 0);
    let broken = violations(&world).await;
    assert!(broken.len() >= 3, "{broken:?}");
}

/// What of the oracle isn't 0.
async fn violations(world: &World) -> Vec<String> {
    let mut broken = Vec::new();
    for (what, count) in ORACLE {
        let count = world.number(count).await;
        if count != 0 {
            broken.push(format!("{count} {what}"));
        }
    }
    broken
}

/// All writers at once; answers how many transactions of other programs were committed, legal ones and others.
async fn race(world: &Arc<World>) -> (u64, u64) {
    let (mut legal, mut illegal) = (0, 0);
    for round in 0..ROUNDS {
        let mut orders = Vec::new();
        for _ in 0..ORDERS {
            orders.push(world.with_items(2).await.id());
        }
        let mut store_writers = JoinSet::new();
        for writer in 0..STORE_WRITERS {
            store_writers.spawn(write_through_the_store(Arc::clone(&world.store), orders.clone(), seed(round, writer)));
        }
        let mut raw_writers = JoinSet::new();
        for writer in 0..RAW_WRITERS {
            let seed = seed(round, STORE_WRITERS + writer);
            raw_writers.spawn(write_raw(Arc::clone(world), orders.clone(), seed));
        }
        store_writers.join_all().await;
        for (committed_legal, committed_illegal) in raw_writers.join_all().await {
            legal += committed_legal;
            illegal += committed_illegal;
        }
    }
    (legal, illegal)
}

fn seed(round: usize, writer: u64) -> u64 {
    u64::try_from(round).unwrap_or_default() * 1_000 + writer
}

async fn write_through_the_store(store: Arc<dyn OrderStore>, orders: Vec<OrderId>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..CHANGES {
        let id = orders[random.usize(..orders.len())];
        let item = store.get(id).await.ok().and_then(|order| random.choice(order.items()).map(order_domain::Item::id));
        let answer = match (random.u8(0..20), item) {
            (0..4, Some(item)) => store.remove_item(id, item, Request::new()).await,
            (4..7, Some(item)) => store.change_quantity(id, item, pieces(random.u16(1..9)), Request::new()).await,
            (7..9, _) => store.schedule(id, noon(), Request::new()).await,
            (9, _) => store.cancel(id, Request::new()).await,
            _ => store.add_item(id, milk(1), Request::new()).await,
        };
        match answer {
            Ok(_) => {}
            // So many are in each other's way here that a retry may come to its bound.
            Err(StoreError::Refused(_) | StoreError::Unavailable { .. }) => {}
            // Without the guard, what the store reads may be no order any more.
            Err(StoreError::Unreadable { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn write_raw(world: Arc<World>, orders: Vec<OrderId>, seed: u64) -> (u64, u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut legal, mut illegal) = (0, 0);
    for _ in 0..CHANGES {
        let (first, second) = (random.usize(..orders.len()), random.usize(1..orders.len()));
        // Cancellations are rare, or there is soon nothing left to race for.
        let Some((template, may)) = random.choice(TRIES) else { continue };
        if template.starts_with("update orders") && random.u8(0..4) != 0 {
            continue;
        }
        let script = script(template, orders[first], orders[(first + second) % orders.len()]);
        if world.raw(&script).await.is_ok() {
            *(if *may { &mut legal } else { &mut illegal }) += 1;
        }
    }
    (legal, illegal)
}

/// The template in SQL.
fn script(template: &str, a: OrderId, b: OrderId) -> String {
    let statements = template.split_inclusive(';').map(|statement| {
        let words: Vec<&str> = statement.trim_end_matches(';').split_whitespace().collect();
        match words[..] {
            ["STEP", order] => format!("update orders set version = version + 1 where order_id = '{order}';"),
            ["ADD", order] => format!(
                "insert into order_items (order_id, item_id, sku, quantity, unit_price_minor) values ('{order}', '$I', 'milk', 1, 149);"
            ),
            ["EVENT", order, event_type] => format!(
                "insert into order_events (order_id, version, event_type, payload)
                 select order_id, version, '{event_type}', '{{}}' from orders where order_id = '{order}';"
            ),
            _ => statement.to_owned(),
        }
    });
    let sql: String = statements.collect();
    sql.replace("$A", &a.to_string()).replace("$B", &b.to_string()).replace("$I", &Uuid::now_v7().to_string())
}

#[tokio::test]
async fn each_try_has_the_same_answer_alone_and_in_the_race() {
    for world in [World::postgres().await, World::sqlite().await] {
        for (template, may) in TRIES {
            let (a, b) = (world.with_items(1).await, world.with_items(1).await);
            let answer = world.raw(&script(template, a.id(), b.id())).await;
            let database = if matches!(world.database, Database::Postgres(_)) { "PostgreSQL" } else { "SQLite" };
            assert_eq!(answer.is_ok(), *may, "{database}: {template}: {answer:?}");
        }
    }
}
