//! The scripts that make the tables, and the version that they leave.

use std::path::PathBuf;

use order_store::{
    Dialect, OrderStore, PostgresOrderStore, Request, SCHEMA_VERSION, SqliteOrderStore, StoreError, migrations,
};

use crate::world::{Database, Postgres, World, on_both_databases};

const BEGINS: &str = "-- Written by the guard, from here\n";
const ENDS: &str = "-- Written by the guard, to here\n";

on_both_databases![
    migrating_again_changes_nothing,
    a_database_of_a_newer_program_is_refused_and_says_so,
    missing_tables_are_reported_with_their_version,
];

/// Where the guard's scripts change, `UPDATE_MIGRATIONS=1 cargo test -p order-store --all-features migrations` writes
/// them into the file. Only until the file was released: after that, a change of the guard is a migration of its own.
#[test]
fn the_migrations_hold_the_guards_own_scripts() {
    for (dialect, folder) in [(Dialect::Postgres, "postgres"), (Dialect::Sqlite, "sqlite")] {
        let guard = order_store::guard().sql(dialect);
        let script = migrations(dialect)[0].sql;
        let (before, rest) = script.split_once(BEGINS).expect("where the guard's part begins");
        let (held, after) = rest.split_once(ENDS).expect("where the guard's part ends");
        if std::env::var_os("UPDATE_MIGRATIONS").is_some() {
            let file =
                PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder).join("0001_orders.sql");
            std::fs::write(file, format!("{before}{BEGINS}{guard}{ENDS}{after}")).expect("the migration's file");
        } else {
            assert_eq!(held, guard, "migrations/{folder}/0001_orders.sql");
        }
    }
}

#[test]
fn migrations_are_numbered_from_1_without_a_gap() {
    for dialect in [Dialect::Postgres, Dialect::Sqlite] {
        let versions: Vec<_> = migrations(dialect).iter().map(|script| script.version).collect();
        assert_eq!(versions, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
    }
}

async fn migrating_again_changes_nothing(world: World) {
    let order = world.with_items(1).await;
    match &world.database {
        Database::Postgres(postgres) => postgres.store.migrate().await.unwrap(),
        Database::Sqlite(sqlite) => sqlite.store.migrate().await.unwrap(),
    }
    assert_eq!(world.store.get(order.id()).await.unwrap(), order);
    assert_eq!(world.number("select count(*) from order_store_migrations").await, SCHEMA_VERSION);
}

async fn a_database_of_a_newer_program_is_refused_and_says_so(world: World) {
    world.raw(&format!("insert into order_store_migrations (version) values ({})", SCHEMA_VERSION + 1)).await.unwrap();
    let (connected, migrated) = match &world.database {
        Database::Postgres(postgres) => {
            (PostgresOrderStore::connect(&postgres.url).await.map(drop), postgres.store.migrate().await)
        }
        Database::Sqlite(sqlite) => {
            (SqliteOrderStore::connect(&sqlite.url).await.map(drop), sqlite.store.migrate().await)
        }
    };
    for answer in [connected, migrated] {
        let error = answer.unwrap_err();
        assert!(
            matches!(error, StoreError::SchemaVersion { found, expected } if (found, expected) == (SCHEMA_VERSION + 1, SCHEMA_VERSION)),
            "{error:?}"
        );
        assert!(error.to_string().contains("use a newer program"), "{error}");
    }
}

async fn missing_tables_are_reported_with_their_version(world: World) {
    let error = match world.database {
        Database::Postgres(_) => {
            let empty = Postgres::create().await;
            empty.store.create(new_order(), Request::new()).await.unwrap_err()
        }
        Database::Sqlite(_) => {
            let empty = SqliteOrderStore::connect("sqlite::memory:").await.unwrap();
            empty.create(new_order(), Request::new()).await.unwrap_err()
        }
    };
    assert!(matches!(error, StoreError::SchemaVersion { found: 0, expected: SCHEMA_VERSION }), "{error:?}");
    assert!(error.to_string().contains("migrate it"), "{error}");
}

fn new_order() -> order_domain::NewOrder {
    order_domain::NewOrder::new(crate::world::customer(), order_domain::Currency::EUR)
}

#[tokio::test]
async fn two_programs_that_migrate_at_once_do_it_once() {
    let empty = Postgres::create().await;
    let others = [0; 4].map(|_| empty.store.clone());
    let answers = futures::future::join_all(others.iter().map(PostgresOrderStore::migrate)).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");

    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("orders.db").display());
    let stores = futures::future::join_all([0; 4].map(|_| SqliteOrderStore::connect(&url))).await;
    let stores: Vec<_> = stores.into_iter().map(Result::unwrap).collect();
    let answers = futures::future::join_all(stores.iter().map(SqliteOrderStore::migrate)).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}
