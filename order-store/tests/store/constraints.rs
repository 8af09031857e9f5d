//! Every constraint by its name, reached by another program with SQL of its own that goes around the store.

use std::collections::BTreeSet;

use order_domain::Order;
use order_store::violated_constraint;

use crate::world::{Database, World, on_both_databases};

on_both_databases![
    every_rule_refuses_by_its_name,
    no_constraint_of_the_tables_is_left_untried,
    a_legal_change_by_plain_sql_is_accepted,
    a_transaction_that_leaves_a_version_without_event_cannot_commit,
];

/// Which databases have a constraint of this name; the others refuse by the type, without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Both,
    Postgres,
    Sqlite,
}
use On::{Both, Postgres, Sqlite};

/// What refuses, and what it refuses. In a script `{open}`, `{empty}`, `{scheduled}`, `{cancelled}` and `{full}` are orders
/// (2, 1, 3, 4 and 201 versions), `{item}` … an item of theirs, `{new}` an id that nothing has. `STEP x;` steps an order's
/// version, `EVENT x;` appends its event, `ADD x;` adds an item.
const REFUSED: &[(&str, On, &str)] = &[
    // orders
    ("orders_pkey", Both, "insert into orders (order_id, customer_id, currency) values ('{open}', '{new}', 'EUR')"),
    (
        "orders_version_starts_at_one",
        Both,
        "insert into orders (order_id, customer_id, currency, version) values ('{new}', '{new}', 'EUR', 2)",
    ),
    (
        "orders_version_starts_at_one",
        Both,
        "insert into orders (order_id, customer_id, currency, version) values ('{new}', '{new}', 'EUR', 0)",
    ),
    ("orders_version_steps_by_one", Both, "update orders set version = version + 2 where order_id = '{open}'"),
    ("orders_version_steps_by_one", Both, "update orders set version = version - 1 where order_id = '{open}'"),
    ("orders_version_has_event", Both, "STEP {open};"),
    ("orders_version_has_event", Both, "STEP {open}; ADD {open};"),
    (
        "orders_version_has_event",
        Both,
        "insert into orders (order_id, customer_id, currency) values ('{new}', '{new}', 'EUR')",
    ),
    ("orders_is_final", Both, "STEP {cancelled};"),
    ("orders_is_final", Both, "update orders set status = 'open' where order_id = '{cancelled}'"),
    (
        "orders_is_final",
        Both,
        "update orders set version = version + 1, status = 'scheduled' where order_id = '{cancelled}'",
    ),
    ("orders_is_final", Both, "ADD {cancelled};"),
    ("orders_is_final", Both, "delete from order_items where order_id = '{cancelled}'"),
    ("orders_is_final", Both, "update order_items set quantity = 9 where order_id = '{cancelled}'"),
    ("orders_is_final", Both, "STEP {open}; update order_items set order_id = '{cancelled}' where order_id = '{open}'"),
    ("orders_key_is_fixed", Both, "update orders set order_id = '{new}' where order_id = '{open}'"),
    ("orders_is_never_deleted", Both, "delete from orders where order_id = '{open}'"),
    ("orders_is_never_deleted", Both, "delete from orders where order_id = '{cancelled}'"),
    ("orders_changes_inside_a_step", Both, "update orders set status = 'cancelled' where order_id = '{open}'"),
    (
        "orders_status_is_known",
        Both,
        "update orders set version = version + 1, status = 'shipped' where order_id = '{open}'",
    ),
    (
        "orders_starts_open",
        Both,
        "insert into orders (order_id, customer_id, currency, status) values ('{new}', '{new}', 'EUR', 'cancelled')",
    ),
    (
        "orders_currency_is_a_code",
        Both,
        "insert into orders (order_id, customer_id, currency) values ('{new}', '{new}', 'eur')",
    ),
    (
        "orders_currency_is_a_code",
        Both,
        "insert into orders (order_id, customer_id, currency) values ('{new}', '{new}', 'EURO')",
    ),
    (
        "orders_currency_is_fixed",
        Both,
        "update orders set version = version + 1, currency = 'USD' where order_id = '{open}'",
    ),
    ("orders_currency_not_null", Both, "insert into orders (order_id, customer_id) values ('{new}', '{new}')"),
    (
        "orders_window_fits_status",
        Both,
        "update orders set version = version + 1, status = 'scheduled' where order_id = '{open}'",
    ),
    (
        "orders_window_fits_status",
        Both,
        "update orders set version = version + 1, delivery_starts_at = '2026-10-02T12:00:00Z', delivery_ends_at = '2026-10-02T13:00:00Z' where order_id = '{open}'",
    ),
    (
        "orders_window_fits_status",
        Both,
        "update orders set version = version + 1, delivery_ends_at = null where order_id = '{scheduled}'",
    ),
    (
        "orders_window_ends_after_start",
        Both,
        "update orders set version = version + 1, delivery_ends_at = delivery_starts_at where order_id = '{scheduled}'",
    ),
    (
        "orders_window_ends_after_start",
        Both,
        "update orders set version = version + 1, delivery_starts_at = '2026-10-02T12:00:00.1Z', delivery_ends_at = '2026-10-02T12:00:00.000002Z' where order_id = '{scheduled}'",
    ),
    (
        "orders_window_years",
        Both,
        "update orders set version = version + 1, delivery_starts_at = '1969-12-31T23:59:59Z' where order_id = '{scheduled}'",
    ),
    (
        "orders_window_years",
        Postgres,
        "update orders set version = version + 1, delivery_ends_at = '10000-01-01T00:00:00Z' where order_id = '{scheduled}'",
    ),
    (
        "orders_window_years",
        Postgres,
        "update orders set version = version + 1, delivery_ends_at = 'infinity' where order_id = '{scheduled}'",
    ),
    (
        "orders_window_form",
        Sqlite,
        "update orders set version = version + 1, delivery_ends_at = 'tomorrow' where order_id = '{scheduled}'",
    ),
    (
        "orders_window_form",
        Sqlite,
        "update orders set version = version + 1, delivery_ends_at = '2026-11-31T12:00:00Z' where order_id = '{scheduled}'",
    ),
    (
        "orders_window_form",
        Sqlite,
        "update orders set version = version + 1, delivery_ends_at = '2026-10-02T12:00:00+02:00' where order_id = '{scheduled}'",
    ),
    (
        "orders_scheduled_has_items",
        Both,
        "update orders set version = version + 1, status = 'scheduled', delivery_starts_at = '2026-10-02T12:00:00Z', delivery_ends_at = '2026-10-02T13:00:00Z' where order_id = '{empty}'",
    ),
    ("orders_scheduled_has_items", Both, "STEP {scheduled}; delete from order_items where order_id = '{scheduled}'"),
    (
        "orders_scheduled_has_items",
        Both,
        "STEP {scheduled}; STEP {open}; update order_items set order_id = '{open}' where order_id = '{scheduled}'",
    ),
    (
        "orders_never_reopens",
        Both,
        "update orders set version = version + 1, status = 'open', delivery_starts_at = null, delivery_ends_at = null where order_id = '{scheduled}'",
    ),
    (
        "orders_cancelled_keeps_window",
        Both,
        "update orders set version = version + 1, status = 'cancelled', delivery_starts_at = null, delivery_ends_at = null where order_id = '{scheduled}'",
    ),
    (
        "orders_ids_are_uuids",
        Sqlite,
        "insert into orders (order_id, customer_id, currency) values ('one', '{new}', 'EUR')",
    ),
    (
        "orders_ids_are_uuids",
        Sqlite,
        "insert into orders (order_id, customer_id, currency) values (upper('{new}a'), '{new}', 'EUR')",
    ),
    // order_items
    (
        "order_items_pkey",
        Both,
        "STEP {open}; insert into order_items (order_id, item_id, sku, quantity, unit_price_minor) values ('{open}', '{open_item}', 'milk', 1, 1)",
    ),
    ("order_items_changes_inside_a_step", Both, "ADD {open};"),
    ("order_items_changes_inside_a_step", Both, "delete from order_items where order_id = '{open}'"),
    ("order_items_changes_inside_a_step", Both, "update order_items set quantity = 9 where order_id = '{open}'"),
    ("order_items_changes_inside_a_step", Both, "STEP {open}; EVENT {open}; ADD {open};"),
    (
        "order_items_changes_inside_a_step",
        Both,
        "STEP {open}; update order_items set order_id = '{scheduled}' where order_id = '{open}'",
    ),
    ("order_items_has_aggregate", Both, "ADD {new};"),
    ("order_items_limit", Both, "STEP {full}; ADD {full};"),
    ("order_items_limit", Both, "savepoint a; STEP {full}; release a; ADD {full};"),
    (
        "order_items_limit",
        Both,
        "STEP {full}; STEP {open}; update order_items set order_id = '{full}' where order_id = '{open}'",
    ),
    (
        "order_items_sku_is_legal",
        Both,
        "STEP {open}; insert into order_items (order_id, item_id, sku, quantity, unit_price_minor) values ('{open}', '{new}', '', 1, 1)",
    ),
    (
        "order_items_sku_is_legal",
        Both,
        "STEP {open}; insert into order_items (order_id, item_id, sku, quantity, unit_price_minor) values ('{open}', '{new}', 'two words', 1, 1)",
    ),
    (
        "order_items_sku_is_legal",
        Both,
        "STEP {open}; insert into order_items (order_id, item_id, sku, quantity, unit_price_minor) values ('{open}', '{new}', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 1, 1)",
    ),
    (
        "order_items_sku_is_legal",
        Both,
        "STEP {open}; insert into order_items (order_id, item_id, sku, quantity, unit_price_minor) values ('{open}', '{new}', 'milk\n', 1, 1)",
    ),
    ("order_items_quantity_range", Both, "STEP {open}; update order_items set quantity = 0 where order_id = '{open}'"),
    (
        "order_items_quantity_range",
        Both,
        "STEP {open}; update order_items set quantity = 1000 where order_id = '{open}'",
    ),
    (
        "order_items_price_is_not_negative",
        Both,
        "STEP {open}; update order_items set unit_price_minor = -1 where order_id = '{open}'",
    ),
    (
        "order_items_ids_are_uuids",
        Sqlite,
        "STEP {open}; insert into order_items (order_id, item_id, sku, quantity, unit_price_minor) values ('{open}', 'one', 'milk', 1, 1)",
    ),
    (
        "order_items_sku_not_null",
        Both,
        "STEP {open}; insert into order_items (order_id, item_id, quantity, unit_price_minor) values ('{open}', '{new}', 1, 1)",
    ),
    ("order_items_is_never_replaced", Postgres, "truncate order_items"),
    // order_events
    (
        "order_events_at_present_version",
        Both,
        "insert into order_events (order_id, version, event_type, payload) values ('{open}', 3, 'item_added', '{}')",
    ),
    (
        "order_events_at_present_version",
        Both,
        "insert into order_events (order_id, version, event_type, payload) values ('{new}', 1, 'created', '{}')",
    ),
    ("order_events_one_per_version", Both, "EVENT {open};"),
    ("order_events_one_per_version", Both, "STEP {open}; EVENT {open}; EVENT {open};"),
    (
        "order_events_event_id_is_unique",
        Both,
        "STEP {open}; insert into order_events (event_id, order_id, version, event_type, payload) select event_id, '{open}', 3, 'item_added', '{}' from order_events limit 1",
    ),
    ("order_events_is_immutable", Both, "update order_events set payload = '{}'"),
    ("order_events_is_immutable", Both, "delete from order_events"),
    ("order_events_is_immutable", Postgres, "truncate order_events cascade"),
    (
        "order_events_sequence_moves_on",
        Sqlite,
        "STEP {open}; insert into order_events (sequence, order_id, version, event_type, payload) values (1000000, '{open}', 3, 'item_added', '{}')",
    ),
    (
        "order_events_payload_is_json",
        Sqlite,
        "STEP {open}; insert into order_events (order_id, version, event_type, payload) values ('{open}', 3, 'item_added', 'milk')",
    ),
    (
        "order_events_payload_size",
        Both,
        "STEP {open}; insert into order_events (order_id, version, event_type, payload) values ('{open}', 3, 'item_added', '\"LARGE\"')",
    ),
    (
        "order_events_event_type_length",
        Both,
        "STEP {open}; insert into order_events (order_id, version, event_type, payload) values ('{open}', 3, '', '{}')",
    ),
    (
        "order_events_traceparent_length",
        Both,
        "STEP {open}; insert into order_events (order_id, version, event_type, payload, traceparent) values ('{open}', 3, 'item_added', '{}', 'LARGE')",
    ),
    (
        "order_events_occurred_at_is_time",
        Postgres,
        "STEP {open}; insert into order_events (order_id, version, event_type, payload, occurred_at) values ('{open}', 3, 'item_added', '{}', 'infinity')",
    ),
    (
        "order_events_occurred_at_is_time",
        Sqlite,
        "STEP {open}; insert into order_events (order_id, version, event_type, payload, occurred_at) values ('{open}', 3, 'item_added', '{}', 'today')",
    ),
    // order_requests
    ("order_requests_pkey", Both, "REQUEST one; REQUEST one;"),
    ("order_requests_request_id_length", Both, "REQUEST ;"),
    ("order_requests_request_id_length", Both, "REQUEST LARGE;"),
    (
        "order_requests_fingerprint_length",
        Both,
        "insert into order_requests (request_id, order_id, version, fingerprint) values ('a', '{open}', 1, 'short')",
    ),
    (
        "order_requests_version_is_positive",
        Both,
        "insert into order_requests (request_id, order_id, version, fingerprint) values ('a', '{open}', 0, '0123456789abcdef0123456789abcdef')",
    ),
    ("order_store_migrations_pkey", Both, "insert into order_store_migrations (version) values (1)"),
];

/// Names that no statement reaches, since another rule always refuses first.
const COVERED_BY_OTHERS: &[(&str, &str)] = &[
    ("order_events_pkey", "the sequence number is the database's to give"),
    ("order_events_version_is_positive", "order_events_at_present_version"),
];

struct Orders {
    open: Order,
    empty: Order,
    scheduled: Order,
    cancelled: Order,
    full: Order,
}

impl Orders {
    async fn of(world: &World) -> Self {
        Self {
            open: world.with_items(1).await,
            empty: world.create().await,
            scheduled: world.scheduled(1).await,
            cancelled: world.cancelled().await,
            full: world.with_items(order_domain::MAX_ITEMS_PER_ORDER).await,
        }
    }

    /// The script in SQL.
    fn script(&self, template: &str) -> String {
        const EVENT: &str = "insert into order_events (order_id, version, event_type, payload)
            select order_id, version, 'item_added', '{}' from orders where order_id = '$'";
        const ADD: &str = "insert into order_items (order_id, item_id, sku, quantity, unit_price_minor)
            values ('$', '{new}', 'milk', 1, 149)";
        const REQUEST: &str = "insert into order_requests (request_id, order_id, version, fingerprint)
            values ('$', '{open}', 1, '0123456789abcdef0123456789abcdef')";
        const STEP: &str = "update orders set version = version + 1 where order_id = '$'";
        let words = [("STEP ", STEP), ("EVENT ", EVENT), ("ADD ", ADD), ("REQUEST ", REQUEST)];
        let statements = template.split_inclusive(';').map(|statement| {
            let statement = statement.trim_start();
            let word = words.iter().find(|(word, _)| statement.starts_with(word));
            let of = |(word, sql): &(&str, &str)| sql.replace('$', statement[word.len()..].trim_end_matches(';')) + ";";
            word.map_or_else(|| statement.to_owned(), of)
        });
        let large = "x".repeat(if template.contains("\"LARGE\"") { 900_000 } else { 600 });
        let ids = [
            ("{open_item}", self.open.items()[0].id().to_string()),
            ("{open}", self.open.id().to_string()),
            ("{empty}", self.empty.id().to_string()),
            ("{scheduled}", self.scheduled.id().to_string()),
            ("{cancelled}", self.cancelled.id().to_string()),
            ("{full}", self.full.id().to_string()),
            ("{new}", uuid::Uuid::now_v7().to_string()),
            ("LARGE", large),
        ];
        ids.iter().fold(statements.collect::<String>(), |script, (name, value)| script.replace(name, value))
    }

    /// Nothing that was refused has left a trace.
    async fn are_unchanged(&self, world: &World) {
        for order in [&self.open, &self.empty, &self.scheduled, &self.cancelled, &self.full] {
            assert_eq!(&world.store.get(order.id()).await.expect("the order"), order);
            assert_eq!(&world.replayed(order.id()).await, order);
        }
    }
}

fn is_on(world: &World, on: On) -> bool {
    match world.database {
        Database::Postgres(_) => on != Sqlite,
        Database::Sqlite(_) => on != Postgres,
    }
}

async fn every_rule_refuses_by_its_name(world: World) {
    let orders = Orders::of(&world).await;
    for (name, _, template) in REFUSED.iter().filter(|(_, on, _)| is_on(&world, *on)) {
        let script = orders.script(template);
        let error = world.raw(&script).await.expect_err(template);
        assert_eq!(violated_constraint(&error).as_deref(), Some(*name), "{template}: {error}");
    }
    orders.are_unchanged(&world).await;
}

/// The names come from the database itself, so that a constraint that is added needs a case above.
async fn no_constraint_of_the_tables_is_left_untried(world: World) {
    let named: BTreeSet<String> = match &world.database {
        Database::Postgres(postgres) => {
            let query = "select conname::text from pg_constraint c
                          where connamespace = 'public'::regnamespace and contype <> 'n' and contype <> 't'
                         union select m[1] from pg_proc p,
                               regexp_matches(pg_get_functiondef(p.oid), 'constraint = ''([a-z_]+)''', 'g') m
                          where pronamespace = 'public'::regnamespace and prokind = 'f'
                         union select split_part(encode(tgargs, 'escape'), '\\000', 1) from pg_trigger
                          where tgnargs > 0 and not tgisinternal";
            sqlx::query_scalar(query).fetch_all(&postgres.pool).await.expect("the names").into_iter().collect()
        }
        Database::Sqlite(sqlite) => {
            let mut connection = sqlite.connect().await.expect("the file");
            let scripts: Vec<String> = sqlx::query_scalar("select sql from sqlite_schema where sql is not null")
                .fetch_all(&mut connection)
                .await
                .expect("the tables");
            let after = |mark: &'static str| move |script: &String| names_after(script, mark);
            let declared = scripts.iter().flat_map(after("constraint "));
            declared.chain(scripts.iter().flat_map(after("raise(abort, '"))).collect()
        }
    };
    assert!(named.len() > 30, "{named:?}");
    let tried: BTreeSet<&str> = REFUSED.iter().map(|(name, _, _)| *name).collect();
    let covered: BTreeSet<&str> = COVERED_BY_OTHERS.iter().map(|(name, _)| *name).collect();
    let untried: Vec<_> =
        named.iter().filter(|name| !tried.contains(name.as_str()) && !covered.contains(name.as_str())).collect();
    assert_eq!(untried, Vec::<&String>::new());
}

/// The contract is read there.
#[test]
fn the_crates_documentation_lists_every_name() {
    let documentation = include_str!("../../src/lib.rs");
    let names = REFUSED.iter().map(|(name, _, _)| *name).chain(COVERED_BY_OTHERS.iter().map(|(name, _)| *name));
    let missing: BTreeSet<_> = names
        .filter(|name| !name.ends_with("_not_null") && !name.starts_with("order_store_migrations"))
        .filter(|name| !documentation.contains(&format!("`{name}`")))
        .collect();
    assert_eq!(missing, BTreeSet::new());
}

fn names_after(script: &str, mark: &str) -> Vec<String> {
    let rests = script.split(mark).skip(1);
    rests.map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()).collect()
}

async fn a_legal_change_by_plain_sql_is_accepted(world: World) {
    let orders = Orders::of(&world).await;
    let customer = uuid::Uuid::now_v7();
    let legal = [
        "STEP {open}; ADD {open}; EVENT {open};",
        "STEP {open}; update order_items set quantity = 9 where order_id = '{open}'; EVENT {open};",
        "STEP {open}; EVENT {open}; STEP {empty}; ADD {empty}; EVENT {empty};",
        "STEP {open}; EVENT {open}; STEP {open}; EVENT {open};",
        "update orders set version = version + 1, status = 'scheduled', delivery_starts_at = '2026-10-02T12:00:00Z', delivery_ends_at = '2026-10-02T12:00:00.5Z' where order_id = '{open}'; EVENT {open};",
        "savepoint a; STEP {full}; release a; update order_items set quantity = 9 where order_id = '{full}'; EVENT {full};",
        "update orders set version = version + 1, status = 'cancelled' where order_id = '{open}'; EVENT {open};",
    ];
    for template in legal {
        world.raw(&orders.script(template)).await.unwrap_or_else(|error| panic!("{template}: {error}"));
    }
    let create = format!(
        "insert into orders (order_id, customer_id, currency) values ('{customer}', '{customer}', 'EUR'); EVENT {customer};"
    );
    world.raw(&orders.script(&create)).await.expect("a new order");

    let open = world.store.get(orders.open.id()).await.unwrap();
    assert_eq!((open.version().get(), open.items().len()), (9, 2));
    assert_eq!(open.status(), order_domain::OrderStatus::Cancelled);
    let seconds = open.delivery_window().unwrap().ends_at() - open.delivery_window().unwrap().starts_at();
    assert_eq!(seconds, chrono::TimeDelta::milliseconds(500));
    let created = world.store.list_by_customer(customer.into(), None).await.unwrap().orders;
    assert_eq!(created.len(), 1);
}

async fn a_transaction_that_leaves_a_version_without_event_cannot_commit(world: World) {
    let orders = Orders::of(&world).await;
    // Two steps and the event of the second one: the first one's is missing.
    let two_steps = "STEP {open}; STEP {open}; EVENT {open};";
    let error = world.raw(&orders.script(two_steps)).await.expect_err(two_steps);
    assert!(violated_constraint(&error).is_some(), "{error}");
    orders.are_unchanged(&world).await;
}
