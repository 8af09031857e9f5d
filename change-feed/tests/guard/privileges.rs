//! What a role that owns nothing can't do on PostgreSQL, whatever it was granted on the tables; and what the owner can.

use crate::guard::oracle::violations;
use crate::guard::world::{APPLICATION_ROLE, Database, Role, Session, World, add, event, step, told};

const STOLEN_SEARCH_PATH: &str = "
create function {schema}.always(bigint, bigint) returns boolean language sql as 'select true';
create function {schema}.always(uuid, uuid) returns boolean language sql as 'select true';
create function {schema}.always(text, text) returns boolean language sql as 'select false';
create operator {schema}.= (function = {schema}.always, leftarg = bigint, rightarg = bigint);
create operator {schema}.= (function = {schema}.always, leftarg = uuid, rightarg = uuid);
create operator {schema}.= (function = {schema}.always, leftarg = text, rightarg = text);
create function {schema}.nextval(regclass) returns bigint language sql as 'select 1::bigint';
create function {schema}.pg_current_xact_id() returns xid8 language sql as 'select ''1''::xid8';
create function {schema}.age(xid) returns integer language sql as 'select 1';
set search_path = {schema}, pg_catalog;";

async fn world() -> (World, Session) {
    let world = World::new(Database::Postgres).await;
    let session = world.session(Role::Application).await;
    (world, session)
}

async fn refused_by(session: &mut Session, statements: &[&str]) -> String {
    session.transaction("", statements).await.expect_err("refused").by
}

#[tokio::test]
async fn the_application_cannot_disable_the_rules() {
    let (world, mut session) = world().await;
    const NOT_OWNER: &str = "42501";
    for statement in [
        "alter table orders disable trigger all",
        "alter table order_items disable trigger user",
        "alter table orders drop constraint orders_version_has_event",
        "drop trigger order_events_guard_insert on order_events",
        "drop table order_events",
        "set session_replication_role = replica",
        "select order_events_prune(pg_current_snapshot(), 100)",
        "select order_events_erase(:a)",
        "create or replace function order_items_guard_insert() returns trigger language plpgsql as 'begin return new; end'",
        "select setval('order_events_sequence', 1)",
    ] {
        assert_eq!(refused_by(&mut session, &[statement]).await, NOT_OWNER, "{statement}");
    }
    assert_eq!(violations(&mut world.session(Role::Owner).await).await, []);
}

#[tokio::test]
async fn the_application_cannot_pass_for_the_owners_functions() {
    let (world, mut session) = world().await;
    let claim = format!("set local change_feed.maintenance = '{}.order_events'", world.schema());
    for statement in ["delete from order_events where order_id = :a", "update order_events set payload = '{}'"] {
        assert_eq!(refused_by(&mut session, &[&claim, statement]).await, "order_events_is_immutable", "{statement}");
    }
}

#[tokio::test]
async fn a_search_path_of_the_applications_means_no_other_operators() {
    let (world, mut session) = world().await;
    let mut owner = world.session(Role::Owner).await;
    let stolen = format!("{}_stolen", world.schema());
    owner.run(&format!("create schema {stolen} authorization {APPLICATION_ROLE}")).await.expect("a schema of its own");
    session.run(&STOLEN_SEARCH_PATH.replace("{schema}", &stolen)).await.expect("a search path of its own");
    let tables = |sql: String| {
        ["order_items", "order_events", "orders"]
            .iter()
            .fold(sql, |sql, table| sql.replace(&format!(" {table} "), &format!(" {}.{table} ", world.schema())))
    };
    let item = tables(add(":a", ":x"));
    let cancelled = tables(add(":c", ":x"));
    // The application's own operators find any row: the statements have to name theirs.
    let step = tables(step(":a")).replace("order_id = :a", "order_id operator(pg_catalog.=) :a");
    let early = tables(event(":a", 3));
    for (statements, by) in [
        (vec![item.as_str()], "order_items_changes_inside_a_step"),
        (vec![cancelled.as_str()], "orders_is_final"),
        (vec![early.as_str()], "order_events_at_present_version"),
        (vec![step.as_str(), step.as_str()], "orders_version_has_event"),
        (vec![step.as_str(), early.as_str(), item.as_str()], "order_items_changes_inside_a_step"),
    ] {
        assert_eq!(refused_by(&mut session, &statements).await, by, "{statements:?}");
    }
    assert_eq!(violations(&mut owner).await, []);
}

#[tokio::test]
async fn what_a_writer_says_of_sequence_and_transaction_is_overwritten() {
    let (world, mut session) = world().await;
    let forged = "insert into order_events (sequence, order_id, version, event_type, payload, transaction_id)
                  values (-7, :a, 3, 'changed', '{}', '7')";
    session.transaction("", &[&step(":a"), forged]).await.expect("accepted, and mended");
    let mut owner = world.session(Role::Owner).await;
    let row = "select (sequence = (select max(sequence) from order_events))::text,
                      (transaction_id = (select max(transaction_id::text::bigint) from order_events)::text::xid8)::text,
                      (transaction_id > '7'::xid8)::text
                 from order_events where order_id = :a and version = 3";
    assert_eq!(owner.rows(row).await, [["true"; 3].map(|text| Some(text.to_owned()))]);
}

#[tokio::test]
async fn an_application_with_the_rights_that_it_needs_and_no_more_can_write() {
    let (world, mut session) = world().await;
    let mut owner = world.session(Role::Owner).await;
    let rights = format!(
        "revoke all on orders, order_items, order_events from {APPLICATION_ROLE};
         grant select, insert, update on orders to {APPLICATION_ROLE};
         grant select, insert, update, delete on order_items to {APPLICATION_ROLE};
         grant insert, select (order_id, version, sequence) on order_events to {APPLICATION_ROLE};"
    );
    owner.run(&rights).await.expect("fewer rights");
    let legal = [&*step(":a"), &add(":a", ":x"), &told(":a", 3, "added", ":x")];
    session.transaction("", &legal).await.expect("the legal order");
    let legal = ["savepoint s", &step(":a"), "release s", &event(":a", 4)];
    session.transaction("", &legal).await.expect("the legal order in savepoints");
    assert_eq!(refused_by(&mut session, &[&add(":a", ":k")]).await, "order_items_changes_inside_a_step");
    assert_eq!(refused_by(&mut session, &["select payload from order_events"]).await, "42501");
    assert_eq!(violations(&mut owner).await, []);
}

#[tokio::test]
async fn the_owner_prunes_what_is_published_and_never_the_latest() {
    let (world, mut session) = world().await;
    let mut owner = world.session(Role::Owner).await;
    let published = owner.rows("select pg_current_snapshot()::text").await[0][0].clone().expect("a snapshot");
    session.transaction("", &[&step(":a"), &event(":a", 3)]).await.expect("not yet published");
    session.transaction("", &[&step(":a"), &event(":a", 4)]).await.expect("not yet published");
    let prune =
        |below: &str, at_most: u32| format!("select order_events_prune('{published}', {below}, {at_most})::text");
    let text = |text: &str| vec![vec![Some(text.to_owned())]];
    let above_all = "(select max(sequence) + 1 from order_events)";
    assert_eq!(owner.rows(&prune("1", 100)).await, text("0"), "everything is at or above the number given");
    assert_eq!(owner.rows(&prune(above_all, 2)).await, text("2"), "two at most");
    assert_eq!(owner.rows(&prune(above_all, 100)).await, text("3"), "the rest of what is published and not the latest");
    assert_eq!(owner.rows(&prune(above_all, 100)).await, text("0"), "nothing is left to prune");
    let left = "select string_agg(right(order_id::text, 1) || version, ' ' order by sequence) from order_events";
    assert_eq!(owner.rows(left).await, text("b2 c3 a3 a4"));
    let next = [&*step(":b"), &add(":b", ":x"), &told(":b", 3, "added", ":x")];
    session.transaction("", &next).await.expect("the next version follows the one that was spared");
    assert_eq!(refused_by(&mut session, &[&event(":a", 2)]).await, "order_events_at_present_version");
}

/// A transaction whose snapshot is old sees the version as present and its event as there, while both are gone.
#[tokio::test]
async fn a_pruned_event_is_not_inserted_again_by_a_transaction_that_began_before() {
    let (world, mut session) = world().await;
    let mut late = world.session(Role::Application).await;
    late.run("begin isolation level repeatable read").await.expect("begin");
    late.rows("select count(*)::text from order_events").await;
    session.transaction("", &[&step(":a"), &event(":a", 3)]).await.expect("a step meanwhile");
    let mut owner = world.session(Role::Owner).await;
    owner.rows("select order_events_prune(pg_current_snapshot(), 1000)::text").await;
    let error = late.run(&event(":a", 2)).await.expect_err("refused");
    assert_eq!(crate::guard::world::reason(&error), "order_events_one_per_version");
    late.run("rollback").await.expect("rollback");
}

#[tokio::test]
async fn the_owner_erases_payloads_and_keeps_versions() {
    let (world, mut session) = world().await;
    let mut owner = world.session(Role::Owner).await;
    let versions = "select version::text, event_type, sequence::text from order_events where order_id = :a order by 1";
    let before = owner.rows(versions).await;
    let erased = owner.rows("select order_events_erase(:a)::text").await;
    assert_eq!(erased, [[Some("2".to_owned())]]);
    assert_eq!(owner.rows(versions).await, before);
    let payloads = owner.rows("select distinct payload::text from order_events where order_id = :a").await;
    assert_eq!(payloads, [[Some("{\"erased\":true}".to_owned())]]);
    session.transaction("", &[&step(":a"), &event(":a", 3)]).await.expect("the next version");
}

/// Who owns the tables can disable the triggers. Short of that, the rules hold for the owner too.
#[tokio::test]
async fn the_owner_changes_no_event_by_accident() {
    let (world, _) = world().await;
    let mut owner = world.session(Role::Owner).await;
    assert_eq!(refused_by(&mut owner, &["delete from order_events"]).await, "order_events_is_immutable");
    owner.rows("select order_events_prune(pg_current_snapshot(), 1000)::text").await;
    assert_eq!(refused_by(&mut owner, &["delete from order_events"]).await, "order_events_is_immutable");
    let claim = format!("set local change_feed.maintenance = '{}.order_events'", world.schema());
    let latest = "delete from order_events where order_id = :a and version = 2";
    assert_eq!(
        refused_by(&mut owner, &[&claim, latest]).await,
        "orders_version_has_event",
        "the key spares the latest"
    );
}
