//! Tables that have rows come under the guard, while others write them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use change_feed::outbox::{Baseline, GuardError};
use uuid::Uuid;

use crate::guard::world::{Database, Refused, Role, Rules, Session, World, event, step};

const ORDERS: u32 = 300;

/// Orders at versions of their own, with items, of a time before the guard.
async fn old_tables(database: Database) -> World {
    let world = World::empty(database, Rules::None).await;
    let mut owner = world.session(Role::Owner).await;
    owner.hurry().await;
    owner.run("begin").await.expect("begin");
    for number in 0..ORDERS {
        let order = format!("'{}'", Uuid::now_v7());
        let (version, status) = (1 + number % 5, if number % 10 == 9 { "cancelled" } else { "open" });
        owner
            .run(&format!(
                "insert into orders (order_id, version, status) values ({order}, {version}, '{status}');
                 insert into order_items (order_id, item_id, quantity) values ({order}, '{}', 1);",
                Uuid::now_v7()
            ))
            .await
            .expect("an old order");
    }
    owner.run("commit").await.expect("commit");
    world
}

/// The items as the baseline's payload tells of them, in the words of each database.
fn baseline(database: Database) -> Baseline {
    let payload = match database {
        Database::Postgres => {
            "json_build_object('status', a.status, 'items', coalesce(
                 (select json_agg(i.item_id) from order_items i where i.order_id = a.order_id), '[]'::json))"
        }
        _ => {
            "json_object('status', a.status, 'items',
                 (select json_group_array(i.item_id) from order_items i where i.order_id = a.order_id))"
        }
    };
    Baseline::new("adopted").payload_sql(payload).batch_rows(20)
}

async fn adopt(world: &World, session: &mut Session, baseline: &Baseline) -> Result<u64, GuardError> {
    match session {
        Session::Postgres(connection) => world.guard.adopt(connection, baseline).await,
        Session::Sqlite(connection) => world.guard.adopt(connection, baseline).await,
    }
}

async fn number(session: &mut Session, query: &str) -> i64 {
    let row = session.rows(&format!("select cast(count(*) as text) from {query}")).await;
    row[0][0].as_deref().and_then(|text| text.parse().ok()).expect("a number")
}

const HEADS_WITHOUT_EVENT: &str = "orders o where not exists
    (select 1 from order_events e where e.order_id = o.order_id and e.version = o.version)";

/// Versions without an event between the baseline and the present version.
const HOLES: &str = "order_events e where exists
    (select 1 from orders o where o.order_id = e.order_id and o.version > e.version)
    and not exists (select 1 from order_events n where n.order_id = e.order_id and n.version = e.version + 1)";

async fn rows_get_a_baseline(database: Database) {
    let world = old_tables(database).await;
    let mut owner = world.session(Role::Owner).await;
    assert_eq!(adopt(&world, &mut owner, &baseline(database)).await.expect("adopted"), u64::from(ORDERS));
    assert_eq!(number(&mut owner, HEADS_WITHOUT_EVENT).await, 0);
    assert_eq!(
        number(&mut owner, "order_events where event_type = 'adopted' and cast(payload as text) like '%items%'").await,
        300
    );
    assert_eq!(adopt(&world, &mut owner, &baseline(database)).await.expect("adopted again"), 0);
    // Under the rules from now on.
    let order = owner.rows("select cast(min(cast(order_id as text)) as text) from orders where version = 5").await;
    let order = format!("'{}'", order[0][0].as_deref().expect("an order"));
    owner.transaction("", &[&step(&order), &event(&order, 6)]).await.expect("the next version");
    let refused = owner.transaction("", &["delete from order_items"]).await.expect_err("no step").by;
    assert!(["order_items_changes_inside_a_step", "orders_is_final"].contains(&refused.as_str()), "{refused}");
    let refused = owner.transaction("", &[&step(&order), &step(&order)]).await.expect_err("no event").by;
    assert_eq!(refused, "orders_version_has_event");
}

#[tokio::test]
async fn rows_get_a_baseline_on_postgres() {
    rows_get_a_baseline(Database::Postgres).await;
}

#[tokio::test]
async fn rows_get_a_baseline_on_sqlite() {
    rows_get_a_baseline(Database::Sqlite).await;
}

#[tokio::test]
async fn a_baseline_is_the_row_unless_said_otherwise() {
    for database in [Database::Postgres, Database::Sqlite] {
        let world = old_tables(database).await;
        let mut owner = world.session(Role::Owner).await;
        adopt(&world, &mut owner, &Baseline::new("adopted")).await.expect("adopted");
        let tells_of_its_row = match database {
            Database::Postgres => "payload ->> 'order_id' = e.order_id::text and payload ->> 'status' = o.status",
            _ => "json_extract(payload, '$.order_id') = e.order_id and json_extract(payload, '$.status') = o.status",
        };
        let query = format!("order_events e join orders o using (order_id) where {tells_of_its_row}");
        assert_eq!(number(&mut owner, &query).await, i64::from(ORDERS), "{database:?}");
    }
}

#[tokio::test]
async fn an_adoption_that_stopped_goes_on() {
    let world = old_tables(Database::Postgres).await;
    let mut owner = world.session(Role::Owner).await;
    let too_large = "json_build_object('text', case when a.version = 5 then repeat('x', 900000) end)";
    let stops = Baseline::new("adopted").payload_sql(too_large).batch_rows(20);
    let refused = adopt(&world, &mut owner, &stops).await.expect_err("a payload over the limit");
    assert_eq!(refused.constraint(), Some("order_events_payload_size"));
    let Session::Postgres(connection) = &mut owner else { unreachable!("PostgreSQL") };
    let refused = world.guard.install(connection).await.expect_err("not while rows wait");
    assert!(matches!(refused, GuardError::Unfit { .. }), "{refused}");
    let adopted = number(&mut owner, "order_events").await;
    let rest = adopt(&world, &mut owner, &baseline(Database::Postgres)).await.expect("the rest");
    assert_eq!(adopted + i64::try_from(rest).expect("few"), i64::from(ORDERS));
    assert_eq!(number(&mut owner, HEADS_WITHOUT_EVENT).await, 0);
}

#[tokio::test]
async fn an_adoption_that_met_a_full_disk_is_repeated_on_the_same_connection() {
    let world = old_tables(Database::Sqlite).await;
    let mut owner = world.session(Role::Owner).await;
    let pages = owner.rows("select cast(page_count as text) from pragma_page_count").await;
    let pages: i64 = pages[0][0].as_deref().and_then(|pages| pages.parse().ok()).expect("a number");
    // Room for the outbox and some of its rows, and no memory for pages that are not written yet.
    owner.run("pragma cache_size = 5").await.expect("a small cache");
    owner.run(&format!("pragma max_page_count = {}", pages + 20)).await.expect("a limit");
    let error = adopt(&world, &mut owner, &baseline(Database::Sqlite)).await.expect_err("the disk is full");
    assert!(matches!(error, GuardError::Database(_)), "{error:?}");
    owner.run("pragma max_page_count = 1000000").await.expect("room");
    let adopted = adopt(&world, &mut owner, &baseline(Database::Sqlite)).await.expect("adopted once there is room");
    assert_eq!(adopted, u64::from(ORDERS));
}

/// Items that neither a baseline nor an event tells of, and the other way round.
const UNTOLD: &str = "(
    select order_id, item_id::text from order_items
    except select * from told
    union all
    (select * from told except select order_id, item_id::text from order_items)) untold";
const TOLD: &str = "create temporary view told as
    select order_id, json_array_elements_text(payload -> 'items') as item from order_events where event_type = 'adopted'
    union select order_id, payload ->> 'item' from order_events where event_type = 'added'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_adopted_while_others_write_them() {
    let world = Arc::new(old_tables(Database::Postgres).await);
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        writers.spawn(write(Arc::clone(&world), writer, Arc::clone(&done)));
    }
    let mut owner = world.session(Role::Owner).await;
    let mut adopted = adopt(&world, &mut owner, &baseline(Database::Postgres)).await;
    while matches!(adopted, Err(GuardError::Conflict(_))) {
        adopted = adopt(&world, &mut owner, &baseline(Database::Postgres)).await;
    }
    done.store(true, Ordering::Relaxed);
    let answers = writers.join_all().await.concat();
    adopted.expect("adopted");
    assert_eq!(number(&mut owner, HEADS_WITHOUT_EVENT).await, 0);
    assert_eq!(number(&mut owner, HOLES).await, 0);
    owner.run(TOLD).await.expect("a view");
    assert_eq!(number(&mut owner, UNTOLD).await, 0);
    assert_eq!(number(&mut owner, "told").await, number(&mut owner, "order_items").await);
    let legal = answers.iter().filter(|(legal, answer)| *legal && answer == "committed").count();
    let refused = answers.iter().filter(|(legal, answer)| !*legal && answer == "order_items_changes_inside_a_step");
    println!("{} writes, {legal} in the legal order, {} refused", answers.len(), refused.clone().count());
    assert!(legal > 0 && refused.count() > 0, "the writers met the adoption: {answers:?}");
}

/// Adds items as the old program did and as the new one does, in turn, and for a while after the adoption.
async fn write(world: Arc<World>, writer: usize, done: Arc<AtomicBool>) -> Vec<(bool, String)> {
    let mut session = world.session(Role::Application).await;
    session.hurry().await;
    let orders = session.rows("select cast(order_id as text) from orders where status = 'open' order by 1").await;
    let mut answers = Vec::new();
    let mut left_after_the_adoption = 20;
    while left_after_the_adoption > 0 {
        if done.load(Ordering::Relaxed) {
            left_after_the_adoption -= 1;
        }
        let place = (writer * 37 + answers.len() * 11) % orders.len();
        let order = format!("'{}'", orders[place][0].as_deref().expect("an order"));
        let item = Uuid::now_v7();
        let add = format!("insert into order_items (order_id, item_id, quantity) values ({order}, '{item}', 1)");
        let legal = answers.len() % 2 == 1;
        let answer = if legal {
            let told = format!(
                "insert into order_events (order_id, version, event_type, payload)
                 select order_id, version, 'added', '{{\"item\":\"{item}\"}}' from orders where order_id = {order}"
            );
            session.transaction("", &[&step(&order), &add, &told]).await
        } else {
            session.transaction("", &[&add]).await
        };
        let answer = answer.map_or_else(|Refused { by, .. }| by, |()| "committed".to_owned());
        answers.push((legal, answer));
    }
    answers
}
