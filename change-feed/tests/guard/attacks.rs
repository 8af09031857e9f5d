//! Each way round the rules, in raw SQL: refused, under its name, at every isolation level, to owner and application alike,
//! and nothing of it stays.

use crate::guard::oracle::violations;
use crate::guard::world::{Database, Refused, Role, Session, World};

/// Every isolation level that a PostgreSQL transaction can have (READ UNCOMMITTED is READ COMMITTED there).
const ISOLATION_LEVELS: [&str; 3] =
    ["isolation level read committed", "isolation level repeatable read", "isolation level serializable"];

/// Runs the statements as one transaction and expects one of them to be refused, or the commit after them.
async fn is_refused(database: Database, by: &str, at_commit: bool, statements: &[String]) {
    let statements: &[&str] = &statements.iter().map(String::as_str).collect::<Vec<_>>();
    let world = World::new(database).await;
    let levels = if database == Database::Postgres { &ISOLATION_LEVELS[..] } else { &[""] };
    let roles = if database == Database::Postgres { &[Role::Owner, Role::Application][..] } else { &[Role::Owner] };
    // SQLite says no name of a foreign key.
    let by = if at_commit && database != Database::Postgres { "a foreign key of SQLite" } else { by };
    let before = everything(&mut world.session(Role::Owner).await).await;
    for role in roles {
        let mut session = world.session(*role).await;
        for level in levels {
            let answer = session.transaction(level, statements).await;
            let Err(Refused { by: refused_by, after }) = answer else {
                panic!("accepted as {role:?} at {level}: {statements:?}");
            };
            assert_eq!(refused_by, by, "as {role:?} at {level}: {statements:?}");
            assert_eq!(after == statements.len(), at_commit, "refused after {after} of {statements:?}");
        }
    }
    let mut owner = world.session(Role::Owner).await;
    assert_eq!(everything(&mut owner).await, before, "a refused transaction left something");
    assert_eq!(violations(&mut owner).await, [], "the history is whole");
}

async fn everything(session: &mut Session) -> Vec<Vec<Vec<Option<String>>>> {
    let mut tables = Vec::new();
    for query in [
        "select cast(order_id as text), status, cast(version as text) from orders order by 1",
        "select cast(order_id as text), cast(item_id as text), cast(quantity as text) from order_items order by 1, 2",
        "select cast(sequence as text), cast(order_id as text), cast(version as text), event_type, cast(payload as text)
           from order_events order by sequence",
    ] {
        tables.push(session.rows(query).await);
    }
    tables
}

/// One test on each database for each attack. `commit` stands where it is the commit that is refused.
macro_rules! attacks {
    ($($(#[$only:ident])? $name:ident: $by:literal $($commit:ident)? [$($statement:expr),+ $(,)?])+) => {$(
        fn $name() -> Vec<String> {
            vec![$($statement.to_string()),+]
        }
        mod $name {
            const BY: &str = $by;
            const AT_COMMIT: bool = attacks!(@at_commit $($commit)?);
            attacks!{@tests $name $($only)?}
        }
    )+};
    (@at_commit commit) => { true };
    (@at_commit) => { false };
    (@tests $name:ident) => {
        attacks!{@tests $name postgres}
        attacks!{@tests $name sqlite}
    };
    (@tests $name:ident postgres) => {
        #[tokio::test]
        async fn on_postgres() {
            super::is_refused(super::Database::Postgres, BY, AT_COMMIT, &super::$name()).await;
        }
    };
    (@tests $name:ident sqlite) => {
        #[tokio::test]
        async fn on_sqlite() {
            super::is_refused(super::Database::Sqlite, BY, AT_COMMIT, &super::$name()).await;
        }

        #[tokio::test]
        async fn on_sqlite_with_the_key_declared() {
            super::is_refused(super::Database::SqliteWithKey, BY, AT_COMMIT, &super::$name()).await;
        }
    };
}

const STEP_A: &str = "update orders set version = version + 1 where order_id = :a";
const STEP_B: &str = "update orders set version = version + 1 where order_id = :b";
const EVENT_A3: &str =
    "insert into order_events (order_id, version, event_type, payload) values (:a, 3, 'changed', '{}')";
const EVENT_B3: &str =
    "insert into order_events (order_id, version, event_type, payload) values (:b, 3, 'changed', '{}')";
const ADD_A: &str = "insert into order_items (order_id, item_id, quantity) values (:a, :x, 1)";
const NEW: &str = "insert into orders (order_id, version) values (:n, 1)";
const EVENT_N1: &str =
    "insert into order_events (order_id, version, event_type, payload) values (:n, 1, 'created', '{}')";

attacks! {
    // Rule 2: children change only between a step and its event.
    an_item_is_added_without_a_step: "order_items_changes_inside_a_step" [ADD_A]
    an_item_is_added_and_the_step_comes_later: "order_items_changes_inside_a_step" [ADD_A, STEP_A, EVENT_A3]
    an_item_is_changed_without_a_step: "order_items_changes_inside_a_step" [
        "update order_items set quantity = 9 where order_id = :a"
    ]
    an_item_is_removed_without_a_step: "order_items_changes_inside_a_step" [
        "delete from order_items where order_id = :a"
    ]
    an_item_is_added_under_the_step_of_another_order: "order_items_changes_inside_a_step" [STEP_B, ADD_A]
    an_item_moves_into_an_order_that_did_not_step: "order_items_changes_inside_a_step" [
        STEP_B, "update order_items set order_id = :a where order_id = :b"
    ]
    an_item_moves_out_of_an_order_that_did_not_step: "order_items_changes_inside_a_step" [
        STEP_B, "update order_items set order_id = :b where order_id = :a"
    ]
    an_item_is_added_after_the_event: "order_items_changes_inside_a_step" [STEP_A, EVENT_A3, ADD_A]
    an_item_is_changed_after_the_event: "order_items_changes_inside_a_step" [
        STEP_A, EVENT_A3, "update order_items set quantity = 9 where order_id = :a"
    ]
    an_item_is_removed_after_the_event: "order_items_changes_inside_a_step" [
        STEP_A, EVENT_A3, "delete from order_items where order_id = :a"
    ]
    an_item_is_added_to_a_new_order_after_its_event: "order_items_changes_inside_a_step" [
        NEW, EVENT_N1, "insert into order_items (order_id, item_id, quantity) values (:n, :x, 1)"
    ]
    an_item_is_added_to_an_order_that_does_not_exist: "order_items_has_aggregate" [
        "insert into order_items (order_id, item_id, quantity) values (:n, :x, 1)"
    ]

    // R: nothing enters, changes or leaves what is cancelled.
    an_item_is_added_to_a_cancelled_order: "orders_is_final" [
        "insert into order_items (order_id, item_id, quantity) values (:c, :x, 1)"
    ]
    an_item_of_a_cancelled_order_is_changed: "orders_is_final" [
        "update order_items set quantity = 9 where order_id = :c"
    ]
    an_item_of_a_cancelled_order_is_removed: "orders_is_final" ["delete from order_items where order_id = :c"]
    an_item_moves_into_a_cancelled_order: "orders_is_final" [
        STEP_A, "update order_items set order_id = :c where order_id = :a"
    ]
    an_item_moves_out_of_a_cancelled_order: "orders_is_final" [
        STEP_A, "update order_items set order_id = :a where order_id = :c"
    ]
    an_item_is_added_in_the_step_that_cancels: "orders_is_final" [
        "update orders set version = version + 1, status = 'cancelled' where order_id = :a", ADD_A
    ]
    a_cancelled_order_steps: "orders_is_final" ["update orders set version = version + 1 where order_id = :c"]
    a_cancelled_order_is_opened_again: "orders_is_final" ["update orders set status = 'open' where order_id = :c"]
    a_cancelled_order_is_opened_again_with_a_step: "orders_is_final" [
        "update orders set version = version + 1, status = 'open' where order_id = :c"
    ]
    a_cancelled_order_is_opened_again_before_its_event: "orders_is_final" [
        "update orders set version = version + 1, status = 'cancelled' where order_id = :a",
        "update orders set status = 'open' where order_id = :a"
    ]
    a_cancelled_order_takes_another_key: "orders_is_final" ["update orders set order_id = :n where order_id = :c"]

    // Rule 1: versions start at 1 and step by 1.
    a_new_order_starts_above_1: "orders_version_starts_at_one" ["insert into orders (order_id, version) values (:n, 2)"]
    a_new_order_starts_below_1: "orders_version_starts_at_one" ["insert into orders (order_id, version) values (:n, 0)"]
    a_version_steps_by_two: "orders_version_steps_by_one" ["update orders set version = version + 2 where order_id = :a"]
    a_version_steps_back: "orders_version_steps_by_one" ["update orders set version = version - 1 where order_id = :a"]
    a_step_is_taken_back_by_hand: "orders_version_steps_by_one" [
        STEP_A, ADD_A, "update orders set version = version - 1 where order_id = :a"
    ]
    two_steps_share_the_event_of_the_second: "orders_version_has_event" [STEP_A, STEP_A]
    an_order_is_cancelled_without_a_step: "orders_changes_inside_a_step" [
        "update orders set status = 'cancelled' where order_id = :a"
    ]
    an_order_is_changed_after_its_event: "orders_changes_inside_a_step" [
        STEP_A, EVENT_A3, "update orders set status = 'cancelled' where order_id = :a"
    ]
    an_order_takes_another_key: "orders_key_is_fixed" ["update orders set order_id = :n where order_id = :a"]
    an_order_takes_another_key_with_a_step: "orders_key_is_fixed" [
        "update orders set order_id = :n, version = version + 1 where order_id = :a"
    ]
    an_order_takes_the_key_of_another: "orders_key_is_fixed" ["update orders set order_id = :b where order_id = :a"]
    an_order_is_deleted: "orders_is_never_deleted" ["delete from orders where order_id = :a"]
    a_cancelled_order_is_deleted: "orders_is_never_deleted" ["delete from orders where order_id = :c"]
    an_order_is_deleted_after_a_step: "orders_is_never_deleted" [
        STEP_A, "delete from order_items where order_id = :a", "delete from orders where order_id = :a"
    ]
    a_new_order_is_deleted_before_its_event: "orders_is_never_deleted" [NEW, "delete from orders where order_id = :n"]

    // Rule 3: an event stands at the present version.
    an_event_comes_without_a_step: "order_events_one_per_version" [
        "insert into order_events (order_id, version, event_type, payload) values (:a, 2, 'changed', '{}')"
    ]
    an_event_comes_before_its_step: "order_events_at_present_version" [EVENT_A3, STEP_A]
    an_event_is_of_a_past_version: "order_events_one_per_version" [
        STEP_A, "insert into order_events (order_id, version, event_type, payload) values (:a, 1, 'changed', '{}')"
    ]
    an_event_is_of_a_future_version: "order_events_at_present_version" [
        STEP_A, "insert into order_events (order_id, version, event_type, payload) values (:a, 4, 'changed', '{}')"
    ]
    an_event_is_of_no_version: "order_events_at_present_version" [
        "insert into order_events (order_id, version, event_type, payload) values (:a, 0, 'changed', '{}')"
    ]
    an_event_is_of_no_order: "order_events_at_present_version" [EVENT_N1]
    an_event_comes_twice: "order_events_one_per_version" [STEP_A, EVENT_A3, EVENT_A3]
    an_event_is_of_another_order_than_the_step: "order_events_at_present_version" [STEP_A, EVENT_B3]
    an_event_is_of_a_cancelled_order: "order_events_at_present_version" [
        "insert into order_events (order_id, version, event_type, payload) values (:c, 4, 'changed', '{}')"
    ]
    an_event_is_changed: "order_events_is_immutable" ["update order_events set payload = '{}' where order_id = :a"]
    an_event_is_renumbered: "order_events_is_immutable" [
        "update order_events set sequence = sequence + 100 where order_id = :a"
    ]
    an_event_is_changed_in_its_own_transaction: "order_events_is_immutable" [
        STEP_A, EVENT_A3, "update order_events set version = 4 where order_id = :a and version = 3"
    ]
    an_event_is_deleted: "order_events_is_immutable" ["delete from order_events where order_id = :a and version = 1"]
    an_event_is_deleted_in_its_own_transaction: "order_events_is_immutable" [
        STEP_A, EVENT_A3, "delete from order_events where order_id = :a and version = 3"
    ]

    // Rule 4: a commit needs the event of the present version.
    a_step_has_no_event: "orders_version_has_event" commit [STEP_A]
    a_step_and_a_change_have_no_event: "orders_version_has_event" commit [STEP_A, ADD_A]
    a_new_order_has_no_event: "orders_version_has_event" commit [NEW]
    a_cancellation_has_no_event: "orders_version_has_event" commit [
        "update orders set version = version + 1, status = 'cancelled' where order_id = :a"
    ]
    the_last_of_two_steps_has_no_event: "orders_version_has_event" commit [STEP_A, EVENT_A3, STEP_A]
    one_of_two_orders_has_no_event: "orders_version_has_event" commit [STEP_A, STEP_B, EVENT_B3]
    a_whole_table_steps_without_events: "orders_version_has_event" commit [
        "update orders set version = version + 1 where status <> 'cancelled'"
    ]

    // Savepoints.
    an_event_is_rolled_back_to_a_savepoint: "orders_version_has_event" commit [
        STEP_A, "savepoint s", EVENT_A3, "rollback to s"
    ]
    a_step_in_a_savepoint_has_no_event: "orders_version_has_event" commit [
        "savepoint s", STEP_A, ADD_A, "release s"
    ]
    a_second_step_in_a_savepoint_has_no_event: "orders_version_has_event" commit [
        STEP_A, EVENT_A3, "savepoint s", STEP_A, "release s"
    ]
    a_step_is_rolled_back_to_a_savepoint_and_an_item_added: "order_items_changes_inside_a_step" [
        "savepoint s", STEP_A, "rollback to s", ADD_A
    ]
    a_step_is_rolled_back_to_a_savepoint_and_the_event_stays: "order_events_at_present_version" [
        "savepoint s", STEP_A, "rollback to s", EVENT_A3
    ]
    an_item_is_added_in_a_savepoint_after_the_event: "order_items_changes_inside_a_step" [
        STEP_A, EVENT_A3, "savepoint s", ADD_A
    ]
    an_item_is_added_after_step_and_event_in_a_savepoint: "order_items_changes_inside_a_step" [
        "savepoint s", STEP_A, EVENT_A3, "release s", ADD_A
    ]
    two_steps_in_savepoints_share_an_event: "orders_version_has_event" [
        "savepoint s", STEP_A, "release s", "savepoint t", STEP_A
    ]
    a_step_in_a_savepoint_and_one_after_it_share_an_event: "orders_version_has_event" [
        "savepoint s", STEP_A, "release s", STEP_A
    ]
    a_step_and_one_in_a_savepoint_share_an_event: "orders_version_has_event" [
        STEP_A, "savepoint s", STEP_A
    ]
    a_new_order_steps_before_its_event: "orders_version_has_event" [
        NEW, "update orders set version = version + 1 where order_id = :n"
    ]
    a_step_follows_an_event_that_was_rolled_back: "orders_version_has_event" [
        STEP_A, "savepoint s", EVENT_A3, "rollback to s", STEP_A
    ]

    // Bounds.
    a_payload_is_over_the_limit: "order_events_payload_size" [
        STEP_A,
        format!(
            "insert into order_events (order_id, version, event_type, payload) values (:a, 3, 'changed', '\"{}\"')",
            "x".repeat(900_000)
        )
    ]
    an_event_type_is_empty: "order_events_event_type_length" [
        STEP_A, "insert into order_events (order_id, version, event_type, payload) values (:a, 3, '', '{}')"
    ]
    a_trace_context_is_too_long: "order_events_traceparent_length" [
        STEP_A,
        format!(
            "insert into order_events (order_id, version, event_type, payload, traceparent)
             values (:a, 3, 'changed', '{{}}', '{}')",
            "x".repeat(513)
        )
    ]
    an_event_is_at_the_end_of_time: "order_events_occurred_at_is_time" [
        STEP_A,
        "insert into order_events (order_id, version, event_type, payload, occurred_at)
         values (:a, 3, 'changed', '{}', 'infinity')"
    ]

    // What only one of the databases can do.
    #[postgres]
    a_payload_is_not_json_on_postgres: "22P02" [
        STEP_A, "insert into order_events (order_id, version, event_type, payload) values (:a, 3, 'changed', '{')"
    ]
    #[postgres]
    an_event_id_comes_twice_on_postgres: "order_events_event_id_is_unique" [
        STEP_A,
        "insert into order_events (event_id, order_id, version, event_type, payload)
         select event_id, :a, 3, 'changed', '{}' from order_events where order_id = :b and version = 1"
    ]
    #[postgres]
    a_conflict_updates_without_a_step: "orders_changes_inside_a_step" [
        "insert into orders (order_id, version) values (:a, 1) on conflict (order_id) do update set status = 'scheduled'"
    ]
    #[postgres]
    an_open_step_is_looked_at_before_the_commit: "orders_version_has_event" ["set constraints all immediate", STEP_A]
    #[postgres]
    an_open_step_is_looked_at_when_asked: "orders_version_has_event" [STEP_A, "set constraints all immediate"]
    #[postgres]
    the_orders_are_truncated: "orders_is_never_deleted" ["truncate orders cascade"]
    #[postgres]
    the_items_are_truncated: "order_items_is_never_replaced" ["truncate order_items"]
    #[postgres]
    the_events_are_truncated: "order_events_is_immutable" ["truncate order_events cascade"]
    #[postgres]
    one_statement_changes_after_the_event: "order_items_changes_inside_a_step" [
        "with step as (update orders set version = version + 1 where order_id = :a returning order_id, version),
              event as (insert into order_events (order_id, version, event_type, payload)
                        select order_id, version, 'changed', '{}' from step returning order_id)
         insert into order_items (order_id, item_id, quantity) select cast(order_id as uuid), :x, 1 from event"
    ]
    #[sqlite]
    a_payload_is_not_json_on_sqlite: "order_events_payload_is_json" [
        STEP_A, "insert into order_events (order_id, version, event_type, payload) values (:a, 3, 'changed', '{')"
    ]
    #[sqlite]
    an_order_is_replaced: "orders_is_never_deleted" ["insert or replace into orders (order_id, version) values (:a, 1)"]
    #[sqlite]
    a_cancelled_order_is_replaced: "orders_is_never_deleted" [
        "replace into orders (order_id, version, status) values (:c, 1, 'open')"
    ]
    #[sqlite]
    an_item_replaces_that_of_another_order: "order_items_is_never_replaced" [
        STEP_A,
        "insert or replace into order_items (rowid, order_id, item_id, quantity)
         select rowid, :a, :x, 1 from order_items where order_id = :c"
    ]
    #[sqlite]
    an_item_is_renumbered_over_that_of_another_order: "order_items_is_never_replaced" [
        STEP_A,
        "update or replace order_items set rowid = (select rowid from order_items where order_id = :c)
          where order_id = :a"
    ]
    #[sqlite]
    an_item_is_replaced_without_a_step: "order_items_changes_inside_a_step" [
        "insert or replace into order_items (order_id, item_id, quantity) values (:a, :i, 9)"
    ]
    #[sqlite]
    a_refusal_is_told_to_be_ignored: "order_items_changes_inside_a_step" [
        "insert or ignore into order_items (order_id, item_id, quantity) values (:a, :x, 1)"
    ]
    #[sqlite]
    a_refused_change_is_told_to_be_ignored: "orders_version_steps_by_one" [
        "update or ignore orders set version = 9 where order_id = :a"
    ]
    #[sqlite]
    an_event_replaces_another: "order_events_one_per_version" [
        "insert or replace into order_events (order_id, version, event_type, payload) values (:a, 2, 'forged', '{}')"
    ]
    #[sqlite]
    an_event_replaces_another_by_its_event_id: "order_events_event_id_is_unique" [
        STEP_A,
        "insert or replace into order_events (event_id, order_id, version, event_type, payload)
         select event_id, :a, 3, 'changed', '{}' from order_events where order_id = :b and version = 1"
    ]
    #[sqlite]
    an_event_replaces_another_by_its_sequence_number: "order_events_sequence_moves_on" [
        STEP_A,
        "insert or replace into order_events (sequence, order_id, version, event_type, payload) values (1, :a, 3, 'x', '{}')"
    ]
    #[sqlite]
    an_event_chooses_its_sequence_number: "order_events_sequence_moves_on" [
        STEP_A,
        "insert into order_events (sequence, order_id, version, event_type, payload) values (999, :a, 3, 'x', '{}')"
    ]
    #[sqlite]
    an_event_chooses_a_sequence_number_below_zero: "order_events_sequence_moves_on" [
        STEP_A,
        "insert into order_events (sequence, order_id, version, event_type, payload) values (-1, :a, 3, 'x', '{}')"
    ]
}
