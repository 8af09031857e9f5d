//! The legal order, in all its forms, is accepted.

use crate::guard::oracle::violations;
use crate::guard::world::{Database, Role, World, add, create, event, step, told};

/// Runs the statements as one transaction, and reads the history afterwards.
async fn is_accepted(database: Database, statements: &[String]) {
    let statements: &[&str] = &statements.iter().map(String::as_str).collect::<Vec<_>>();
    let levels: &[&str] = match database {
        Database::Postgres => &["isolation level read committed", "isolation level serializable"],
        _ => &[""],
    };
    for role in [Role::Owner, Role::Application] {
        let level = levels[usize::from(role == Role::Application) % levels.len()];
        let world = World::new(database).await;
        let mut session = world.session(role).await;
        assert_eq!(session.transaction(level, statements).await, Ok(()), "as {role:?} at {level}: {statements:?}");
        assert_eq!(violations(&mut session).await, [], "after {statements:?}");
    }
}

/// One test on each database for each legal transaction.
macro_rules! legal {
    ($($(#[$only:ident])? $name:ident: [$($statement:expr),+ $(,)?])+) => {$(
        fn $name() -> Vec<String> {
            vec![$($statement.to_string()),+]
        }
        mod $name {
            legal!{@tests $name $($only)?}
        }
    )+};
    (@tests $name:ident) => {
        legal!{@tests $name postgres}
        legal!{@tests $name sqlite}
    };
    (@tests $name:ident postgres) => {
        #[tokio::test]
        async fn on_postgres() {
            super::is_accepted(super::Database::Postgres, &super::$name()).await;
        }
    };
    (@tests $name:ident sqlite) => {
        #[tokio::test]
        async fn on_sqlite() {
            super::is_accepted(super::Database::Sqlite, &super::$name()).await;
        }

        #[tokio::test]
        async fn on_sqlite_with_the_key_declared() {
            super::is_accepted(super::Database::SqliteWithKey, &super::$name()).await;
        }
    };
}

legal! {
    a_new_order_has_items_from_the_start: [create(":n"), add(":n", ":x"), told(":n", 1, "added", ":x")]
    an_order_steps_without_a_change: [step(":a"), event(":a", 3)]
    an_item_is_added: [step(":a"), add(":a", ":x"), told(":a", 3, "added", ":x")]
    an_item_is_changed: [step(":a"), "update order_items set quantity = 9 where order_id = :a", event(":a", 3)]
    an_item_is_removed: [
        step(":a"), "delete from order_items where order_id = :a and item_id = :i", told(":a", 3, "removed", ":i")
    ]
    an_order_is_changed_after_its_step: [
        step(":a"), "update orders set status = 'scheduled' where order_id = :a",
        "update orders set status = 'open' where order_id = :a", event(":a", 3)
    ]
    an_order_loses_its_items_and_is_cancelled: [
        step(":a"), "delete from order_items where order_id = :a", told(":a", 3, "removed", ":i"),
        step(":a"), "update orders set status = 'cancelled' where order_id = :a", told(":a", 4, "cancelled", "")
    ]
    one_transaction_makes_two_versions: [
        step(":a"), add(":a", ":x"), told(":a", 3, "added", ":x"),
        step(":a"), "delete from order_items where item_id = :x", told(":a", 4, "removed", ":x")
    ]
    one_transaction_changes_two_orders: [
        step(":a"), step(":b"), add(":b", ":x"), told(":b", 3, "added", ":x"), event(":a", 3)
    ]
    an_item_moves_between_two_orders_that_stepped: [
        step(":a"), step(":b"), "update order_items set order_id = :b where order_id = :a",
        told(":a", 3, "removed", ":i"), told(":b", 3, "added", ":i")
    ]
    a_step_in_a_savepoint_is_as_good: [
        "savepoint s", step(":a"), "release s", add(":a", ":x"), told(":a", 3, "added", ":x")
    ]
    a_change_in_a_savepoint_is_as_good: [
        step(":a"), "savepoint s", add(":a", ":x"), "update order_items set quantity = 2 where item_id = :x", "release s",
        told(":a", 3, "added", ":x")
    ]
    all_in_a_savepoint_is_as_good: [
        "savepoint s", "savepoint t", step(":a"), "release t", "savepoint u", add(":a", ":x"), "release u",
        "savepoint v", told(":a", 3, "added", ":x"), "release v", "release s"
    ]
    what_was_rolled_back_to_a_savepoint_is_done_again: [
        "savepoint s", step(":a"), add(":a", ":x"), told(":a", 3, "added", ":x"), "rollback to s",
        step(":a"), add(":a", ":x"), told(":a", 3, "added", ":x")
    ]
    an_event_that_was_rolled_back_is_told_again: [
        step(":a"), "savepoint s", event(":a", 3), "rollback to s", add(":a", ":x"), told(":a", 3, "added", ":x")
    ]
    a_refused_change_is_rolled_back_to_a_savepoint: [
        step(":a"), "savepoint s", "update orders set version = version where order_id = :a", "rollback to s", event(":a", 3)
    ]
    an_insert_that_does_nothing_on_conflict: [
        "insert into orders (order_id, version) values (:a, 1) on conflict (order_id) do nothing"
    ]
    an_insert_that_updates_on_conflict: [
        "insert into orders (order_id, version) values (:a, 1)
         on conflict (order_id) do update set version = orders.version + 1",
        event(":a", 3)
    ]
    the_largest_payload: [
        step(":a"),
        format!(
            "insert into order_events (order_id, version, event_type, payload) values (:a, 3, 'changed', '\"{}\"')",
            "x".repeat(899_998)
        )
    ]
    #[postgres]
    one_statement_steps_changes_and_appends: [
        "with step as (update orders set version = version + 1 where order_id = :a returning order_id, version),
              change as (insert into order_items (order_id, item_id, quantity) select order_id, :x, 1 from step returning order_id)
         insert into order_events (order_id, version, event_type, payload)
         select order_id, version, 'added', json_build_object('item', cast(:x as text)) from step join change using (order_id)"
    ]
    #[postgres]
    one_statement_adds_several_items: [
        "with step as (update orders set version = version + 1 where order_id = :a returning order_id, version),
              change as (insert into order_items (order_id, item_id, quantity)
                         select order_id, gen_random_uuid(), 1 from step, generate_series(1, 20) returning item_id),
              changed as (select count(*) from change)
         insert into order_events (order_id, version, event_type, payload)
         select order_id, version, 'changed', '{}' from step, changed",
        // so that the history tells of no more items than before
        step(":a"), "delete from order_items where order_id = :a and item_id <> :i", event(":a", 4)
    ]
    #[postgres]
    an_open_step_is_closed_before_it_is_looked_at: [
        step(":a"), event(":a", 3), "set constraints all immediate", "set constraints all deferred", step(":a"), event(":a", 4)
    ]
    #[sqlite]
    an_item_of_the_same_order_is_replaced: [
        step(":a"), "insert or replace into order_items (order_id, item_id, quantity) values (:a, :i, 9)", event(":a", 3)
    ]
    #[sqlite]
    an_item_that_is_there_is_ignored: [
        step(":a"), "insert or ignore into order_items (order_id, item_id, quantity) values (:a, :i, 9)", event(":a", 3)
    ]
}
