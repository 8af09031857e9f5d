//! The guard's methods, in a transaction of the caller's.

use change_feed::outbox::{Event, Guard, GuardConnection, GuardError, KeyType, Outbox};
use sqlx::{Connection as _, Executor};
use uuid::Uuid;

use crate::guard::oracle::violations;
use crate::guard::world::{Database, Role, Rules, Session, World, add, create, event, step};

const A: Uuid = Uuid::from_u128(0x7000_8000_0000_0000_000a);

/// The same calls for either connection.
macro_rules! on_each_connection {
    ($session:expr, $connection:ident => $body:expr) => {
        match $session {
            Session::Postgres($connection) => $body,
            Session::Sqlite($connection) => $body,
        }
    };
}

/// One test on each database.
macro_rules! on_each_database {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test]
            async fn on_postgres() {
                super::$name(super::Database::Postgres).await;
            }

            #[tokio::test]
            async fn on_sqlite() {
                super::$name(super::Database::Sqlite).await;
            }
        }
    )+};
}

on_each_database! {
    a_change_is_begun_and_appended,
    an_unknown_order_is_not_found,
    a_cancelled_order_is_final,
    an_event_of_another_version_is_refused_by_name,
    a_payload_over_the_limit_is_refused_by_name,
    installing_twice_changes_nothing,
    tables_with_rows_are_not_installed_on,
    keys_are_texts_and_numbers_too,
    an_aggregate_takes_as_many_children_as_its_limit,
    a_payload_is_kept_byte_for_byte,
    a_guard_that_changed_is_installed_in_place_of_the_old_one,
    a_column_that_was_renamed_is_guarded_again_after_an_installation,
}

async fn begin_and_append<C: GuardConnection>(guard: &Guard, connection: &mut C, key: Uuid) -> Result<i64, GuardError> {
    let version = guard.begin(connection, key).await?;
    let payload = serde_json::json!({});
    let event = Event::new("changed", key, version, &payload).traceparent("00-1-1-00");
    guard.append(connection, event).await?;
    Ok(version)
}

async fn a_change_is_begun_and_appended(database: Database) {
    let world = World::new(database).await;
    let mut session = world.session(Role::Application).await;
    let versions = on_each_connection!(&mut session, connection => {
        let mut versions = Vec::new();
        for _ in 0..2 {
            let mut tx = connection.begin().await.expect("begin");
            versions.push(begin_and_append(&world.guard, &mut *tx, A).await.expect("a change"));
            tx.commit().await.expect("commit");
        }
        // Dropped without a commit: nothing stays.
        let mut tx = connection.begin().await.expect("begin");
        begin_and_append(&world.guard, &mut *tx, A).await.expect("a change");
        drop(tx);
        versions
    });
    assert_eq!(versions, [3, 4]);
    assert_eq!(violations(&mut session).await, []);
    let rows = session.rows("select cast(version as text), event_type, traceparent, cast(payload as text) from order_events where order_id = :a and version > 2 order by sequence").await;
    let row = |version: &str| [version, "changed", "00-1-1-00", "{}"].map(|text| Some(text.to_owned())).to_vec();
    assert_eq!(rows, [row("3"), row("4")]);
}

async fn an_unknown_order_is_not_found(database: Database) {
    let world = World::new(database).await;
    let mut session = world.session(Role::Application).await;
    let answer = on_each_connection!(&mut session, connection => world.guard.begin(connection, Uuid::now_v7()).await);
    assert!(matches!(answer, Err(GuardError::NotFound { table }) if table == "orders"));
}

async fn a_cancelled_order_is_final(database: Database) {
    let world = World::new(database).await;
    let mut session = world.session(Role::Application).await;
    let cancelled = Uuid::from_u128(0x7000_8000_0000_0000_000c);
    let answer = on_each_connection!(&mut session, connection => world.guard.begin(connection, cancelled).await);
    assert!(matches!(answer, Err(GuardError::Final { constraint, .. }) if constraint == "orders_is_final"));
}

async fn an_event_of_another_version_is_refused_by_name(database: Database) {
    let world = World::new(database).await;
    let mut session = world.session(Role::Application).await;
    let payload = serde_json::json!({});
    let event = Event::new("changed", A, 7, &payload);
    let answer = on_each_connection!(&mut session, connection => world.guard.append(connection, event).await);
    assert_eq!(answer.expect_err("refused").constraint(), Some("order_events_at_present_version"));
}

async fn a_payload_over_the_limit_is_refused_by_name(database: Database) {
    let world = World::new(database).await;
    let mut session = world.session(Role::Application).await;
    let payload = "x".repeat(900_000);
    let answer = on_each_connection!(&mut session, connection => {
        let mut tx = connection.begin().await.expect("begin");
        let version = world.guard.begin(&mut *tx, A).await.expect("a step");
        world.guard.append(&mut *tx, Event::new("changed", A, version, &payload)).await
    });
    assert_eq!(answer.expect_err("refused").constraint(), Some("order_events_payload_size"));
}

async fn installing_twice_changes_nothing(database: Database) {
    let world = World::empty(database, Rules::None).await;
    let mut session = world.session(Role::Owner).await;
    on_each_connection!(&mut session, connection => {
        world.guard.install(connection).await.expect("installed");
        world.guard.install(connection).await.expect("installed again");
    });
    let answer = session.transaction("", &["insert into orders (order_id, version) values (:a, 1)"]).await;
    assert_eq!(answer.expect_err("a commit without an event").after, 1);
    let statements = [
        "insert into orders (order_id, version) values (:a, 1)",
        "insert into order_events (order_id, version, event_type, payload) values (:a, 1, 'created', '{}')",
    ];
    session.transaction("", &statements).await.expect("the legal order");
    on_each_connection!(&mut session, connection => {
        world.guard.install(connection).await.expect("installed on rows that have their events");
    });
    assert_eq!(violations(&mut session).await, []);
}

async fn tables_with_rows_are_not_installed_on(database: Database) {
    let world = World::empty(database, Rules::None).await;
    let mut session = world.session(Role::Owner).await;
    session.run("insert into orders (order_id, version) values (:a, 1)").await.expect("a row older than the guard");
    let answer = on_each_connection!(&mut session, connection => world.guard.install(connection).await);
    assert!(answer.is_err(), "a row whose version has no event");
    session
        .run("insert into order_items (order_id, item_id, quantity) values (:a, :i, 1)")
        .await
        .expect("no rule stays");
}

async fn keys_are_texts_and_numbers_too(database: Database) {
    let world = World::empty(database, Rules::None).await;
    let mut session = world.session(Role::Owner).await;
    let tables = "create table invoices (id bigint primary key, version integer not null);
                  create table invoice_lines (line_id bigint primary key, invoice_id bigint not null references invoices (id));
                  create table \"Parcels\" (\"Code\" varchar(20) primary key, revision integer not null);";
    session.run(tables).await.expect("tables of a user's own");
    let schema = world.schema();
    let invoices =
        Guard::new("invoices").schema(schema).key_type(KeyType::BigInt).children("invoice_lines", "invoice_id");
    let parcels = Guard::new("Parcels")
        .schema(schema)
        .key("Code")
        .version("revision")
        .key_type(KeyType::Text)
        .outbox("parcel_events");
    let payload = serde_json::json!({ "line": 1 });
    on_each_connection!(&mut session, connection => {
        invoices.install(connection).await.expect("installed");
        parcels.install(connection).await.expect("installed");
        let mut tx = connection.begin().await.expect("begin");
        tx.execute("insert into invoices (id, version) values (7, 1)").await.expect("an invoice");
        tx.execute("insert into invoice_lines (line_id, invoice_id) values (1, 7)").await.expect("its line");
        invoices.append(&mut *tx, Event::new("invoice.created.v1", 7, 1, &payload)).await.expect("its event");
        tx.execute("insert into \"Parcels\" (\"Code\", revision) values ('P-1', 1)").await.expect("a parcel");
        parcels.append(&mut *tx, Event::new("parcel.packed.v1", "P-1", 1, &payload)).await.expect("its event");
        tx.commit().await.expect("commit");
        let mut tx = connection.begin().await.expect("begin");
        let version = parcels.begin(&mut *tx, "P-1").await.expect("a step");
        parcels.append(&mut *tx, Event::new("parcel.sent.v1", "P-1", version, &payload)).await.expect("its event");
        tx.commit().await.expect("commit");
    });
    let refused = session.transaction("", &["insert into invoice_lines (line_id, invoice_id) values (2, 7)"]).await;
    assert_eq!(refused.expect_err("no step").by, "invoice_lines_changes_inside_a_step");
    if database == Database::Sqlite {
        let steal = [
            "insert into invoices (id, version) values (8, 1)",
            "insert or replace into invoice_lines (line_id, invoice_id) values (1, 8)",
        ];
        let refused = session.transaction("", &steal).await;
        assert_eq!(refused.expect_err("the line of another invoice").by, "invoice_lines_is_never_replaced");
    }
    let count = session.rows("select cast(count(*) as text) from parcel_events").await;
    assert_eq!(count, [[Some("2".to_owned())]]);
}

async fn an_aggregate_takes_as_many_children_as_its_limit(database: Database) {
    let world = World::empty(database, Rules::None).await;
    let mut session = world.session(Role::Owner).await;
    let guard = world.guard.clone().children_limit(2);
    on_each_connection!(&mut session, connection => guard.install(connection).await.expect("installed"));
    let closed = |order: &str| [create(order), add(order, ":i"), event(order, 1)];
    for order in [":a", ":b"] {
        let statements =
            closed(order).map(|statement| statement.replace(":i", if order == ":a" { ":i" } else { ":j" }));
        session.transaction("", &statements.each_ref().map(String::as_str)).await.expect("a first child");
    }
    let up_to_it = [step(":a"), add(":a", ":x"), event(":a", 2)];
    session.transaction("", &up_to_it.each_ref().map(String::as_str)).await.expect("as many as it may");
    let move_in = "update order_items set order_id = :a where order_id = :b".to_owned();
    let beyond = [
        vec![step(":a"), add(":a", ":k")],
        vec!["savepoint s".to_owned(), step(":a"), "release s".to_owned(), add(":a", ":k")],
        vec![step(":a"), step(":b"), move_in],
    ];
    for statements in beyond {
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        let refused = session.transaction("", &statements).await.expect_err("more than it may");
        assert_eq!(refused.by, "order_items_limit", "{statements:?}");
    }
    // What is there may change, also where the step was made in a savepoint.
    let change = "update order_items set quantity = 9 where order_id = :a".to_owned();
    let legal = ["savepoint s".to_owned(), step(":a"), "release s".to_owned(), change, event(":a", 3)];
    session.transaction("", &legal.each_ref().map(String::as_str)).await.expect("a legal change");
}

/// What `jsonb` would change or refuse: an escaped null character, the order and doubles of members, digits, blanks.
async fn a_payload_is_kept_byte_for_byte(database: Database) {
    let world = World::new(database).await;
    let mut session = world.session(Role::Application).await;
    let text = r#"{ "b":1.50, "a":12345678901234567890.10, "a":"\u0000\ud83d\ude00é" }"#;
    let payload = serde_json::value::RawValue::from_string(text.to_owned()).expect("JSON");
    on_each_connection!(&mut session, connection => {
        let mut tx = connection.begin().await.expect("begin");
        let version = world.guard.begin(&mut *tx, A).await.expect("a step");
        world.guard.append(&mut *tx, Event::new("changed", A, version, &*payload)).await.expect("its event");
        tx.commit().await.expect("commit");
    });
    let rows = session
        .rows("select cast(payload as text) from order_events where order_id = :a order by version desc limit 1")
        .await;
    assert_eq!(rows[0][0].as_deref(), Some(text));
}

async fn a_guard_that_changed_is_installed_in_place_of_the_old_one(database: Database) {
    let world = World::new(database).await;
    let mut owner = world.session(Role::Owner).await;
    let schedule = "update orders set version = version + 1, status = 'scheduled' where order_id = :a";
    owner.transaction("", &[schedule, &event(":a", 3)]).await.expect("scheduled is not final yet");
    let changed = world.guard.clone().final_state("status", "scheduled");
    on_each_connection!(&mut owner, connection => changed.install(connection).await.expect("installed again"));
    let refused = owner.transaction("", &[&step(":a"), &event(":a", 4)]).await.expect_err("it is final now");
    assert_eq!(refused.by, "orders_is_final");
    owner.transaction("", &[&step(":b"), &event(":b", 3)]).await.expect("another order goes on");
}

async fn a_column_that_was_renamed_is_guarded_again_after_an_installation(database: Database) {
    let world = World::new(database).await;
    let mut owner = world.session(Role::Owner).await;
    owner.run("alter table orders rename column version to revision").await.expect("renamed");
    let step = "update orders set revision = revision + 1 where order_id = :a";
    let renamed = world.guard.clone().version("revision");
    on_each_connection!(&mut owner, connection => renamed.install(connection).await.expect("installed again"));
    owner.transaction("", &[step, &event(":a", 3)]).await.expect("the next version");
    let refused = owner.transaction("", &[step, step]).await.expect_err("no event").by;
    assert_eq!(refused, "orders_version_has_event");
    let refused =
        owner.transaction("", &["delete from order_items where order_id = :a"]).await.expect_err("no step").by;
    assert_eq!(refused, "order_items_changes_inside_a_step");
}

#[tokio::test]
async fn an_outbox_that_was_installed_is_found_by_its_name() {
    let world = World::new(Database::Postgres).await;
    let outbox = world.guard.outbox_table();
    let Session::Postgres(mut connection) = world.session(Role::Owner).await else { panic!("on PostgreSQL") };
    let found = Outbox::find(&mut connection, outbox.schema(), outbox.table()).await.expect("the server answers");
    assert_eq!(found.as_ref(), Some(&outbox));
    for no_outbox in ["orders", "nothing"] {
        let found = Outbox::find(&mut connection, outbox.schema(), no_outbox).await.expect("the server answers");
        assert_eq!(found, None, "{no_outbox}");
    }
}
