//! A database of one test's own, with a store on it.

use std::error::Error as _;
use std::sync::Arc;

use order_domain::{
    Currency, CustomerId, DeliveryWindow, EventType, ItemId, Money, NewItem, NewOrder, Order, OrderEvent, OrderId,
    Quantity, Sku, Version,
};
use order_store::{
    InTransaction, OrderConnection, OrderStore, PostgresOrderStore, Request, SqliteOrderStore, StoreError,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Row, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

/// A database with a store on it. Everything goes when it is dropped.
pub(crate) struct World {
    pub(crate) store: Arc<dyn OrderStore>,
    pub(crate) database: Database,
}

pub(crate) enum Database {
    Postgres(Box<Postgres>),
    Sqlite(Sqlite),
}

/// A database of the server, dropped with this value.
pub(crate) struct Postgres {
    pub(crate) url: String,
    /// For the test's own statements.
    pub(crate) pool: PgPool,
    pub(crate) store: PostgresOrderStore,
    name: String,
}

pub(crate) struct Sqlite {
    pub(crate) url: String,
    pub(crate) store: SqliteOrderStore,
    _folder: TempDir,
}

/// An event as the outbox has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EventRow {
    pub(crate) version: i64,
    pub(crate) event_type: String,
    pub(crate) payload: String,
}

/// Runs each test of the list on both databases.
macro_rules! on_both_databases {
    ($($test:ident),+ $(,)?) => {
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::world::World::postgres().await).await;
                }
            )+
        }
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::world::World::sqlite().await).await;
                }
            )+
        }
    };
}
pub(crate) use on_both_databases;

/// What a server's variable says.
pub(crate) fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run scripts/test, or eval \"$(scripts/services env)\" first")
    })
}

/// The database of a world on PostgreSQL.
pub(crate) fn postgres(world: &World) -> &Postgres {
    match &world.database {
        Database::Postgres(postgres) => postgres,
        Database::Sqlite(_) => unreachable!("a world on PostgreSQL"),
    }
}

/// An error with all its sources.
pub(crate) fn explained(error: &StoreError) -> String {
    let sources = std::iter::successors(error.source(), |&error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

/// The URL of another database of the same server.
pub(crate) fn of_database(url: &str, name: &str) -> String {
    let (before, _) = url.rsplit_once('/').expect("a URL with a database");
    format!("{before}/{name}")
}

impl Postgres {
    /// A migrated database, whose owner is who tests connect as.
    pub(crate) async fn create() -> Self {
        let name = format!("order_store_{}", Uuid::now_v7().simple());
        let server = server("DATABASE_URL");
        let mut connection = PgConnection::connect(&server).await.expect("the server of DATABASE_URL");
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("a database");
        // No test cuts the power, and waiting for the disk would slow all of them down.
        let quick = format!("alter database {name} set synchronous_commit = off");
        connection.execute(AssertSqlSafe(quick)).await.expect("a setting");
        let url = of_database(&server, &name);
        let options: PgConnectOptions = url.parse().expect("a URL");
        let pool = PgPoolOptions::new().max_connections(12).connect_lazy_with(options);
        let store = PostgresOrderStore::connect(&url).await.expect("the new database");
        Self { url, pool, store, name }
    }

    /// The database with the rights of the server's administrator.
    pub(crate) fn admin_url(&self) -> String {
        of_database(&server("ADMIN_DATABASE_URL"), &self.name)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let drop = format!("drop database if exists {} with (force)", self.name);
        let server = server("DATABASE_URL");
        // A runtime of its own: dropping happens inside of the test's.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&server).await.map_err(std::io::Error::other)?;
                connection.execute(AssertSqlSafe(drop)).await.map_err(std::io::Error::other)
            })
        });
        let _ = dropped.join();
    }
}

impl World {
    pub(crate) async fn postgres() -> Self {
        let postgres = Postgres::create().await;
        postgres.store.migrate().await.expect("a migrated database");
        Self { store: Arc::new(postgres.store.clone()), database: Database::Postgres(Box::new(postgres)) }
    }

    /// With every transaction at this isolation level unless it says otherwise, the store's too.
    pub(crate) async fn postgres_at(isolation: &str) -> Self {
        let mut postgres = Postgres::create().await;
        postgres.store.migrate().await.expect("a migrated database");
        let set = format!("alter database {} set default_transaction_isolation = '{isolation}'", postgres.name);
        postgres.pool.execute(AssertSqlSafe(set)).await.expect("another isolation level");
        // It holds for new sessions.
        postgres.pool =
            PgPoolOptions::new().max_connections(12).connect_lazy_with(postgres.url.parse().expect("a URL"));
        postgres.store = PostgresOrderStore::connect(&postgres.url).await.expect("the database");
        Self { store: Arc::new(postgres.store.clone()), database: Database::Postgres(Box::new(postgres)) }
    }

    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("orders.db").display());
        let store = SqliteOrderStore::connect(&url).await.expect("a new file");
        store.migrate().await.expect("a migrated file");
        let database = Database::Sqlite(Sqlite { url, store: store.clone(), _folder: folder });
        Self { store: Arc::new(store), database }
    }

    /// Changes a setting of the database for the sessions that are opened from now on.
    pub(crate) async fn set(&self, setting: &str, value: &str) {
        let name = &postgres(self).name;
        let set = format!("begin read write; alter database {name} set {setting} = '{value}'; commit");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&postgres(self).pool).await.expect("a setting");
    }

    /// Runs statements as another program: in one transaction on a connection of its own.
    pub(crate) async fn raw(&self, script: &str) -> Result<(), sqlx::Error> {
        let script = AssertSqlSafe(script.to_owned());
        match &self.database {
            Database::Postgres(postgres) => {
                let mut transaction = postgres.pool.begin().await?;
                sqlx::raw_sql(script).execute(&mut *transaction).await?;
                transaction.commit().await
            }
            Database::Sqlite(sqlite) => {
                let mut connection = sqlite.connect().await?;
                let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
                sqlx::raw_sql(script).execute(&mut *transaction).await?;
                transaction.commit().await?;
                connection.close().await
            }
        }
    }

    /// Takes the payloads out of an order's events, with the rights of the outbox's owner.
    pub(crate) async fn scrub(&self, order_id: OrderId) {
        match &self.database {
            Database::Postgres(_) => self.raw(&format!("select public.order_events_erase('{order_id}')")).await,
            // SQLite has no such right: a program that may write may also drop the trigger.
            Database::Sqlite(_) => {
                let scrub = format!("update order_events set payload = '{{}}' where order_id = '{order_id}'");
                self.raw(&format!("drop trigger order_events_guard_immutable_update; {scrub}")).await
            }
        }
        .expect("scrubbed payloads");
    }

    /// One number.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let query = AssertSqlSafe(query.to_owned());
        match &self.database {
            Database::Postgres(postgres) => sqlx::query_scalar(query).fetch_one(&postgres.pool).await,
            Database::Sqlite(sqlite) => {
                sqlx::query_scalar(query).fetch_one(&mut sqlite.connect().await.expect("the file")).await
            }
        }
        .expect("a number")
    }

    /// The events of an order, in the order of their sequence numbers.
    pub(crate) async fn events(&self, order_id: OrderId) -> Vec<EventRow> {
        let query = AssertSqlSafe(format!(
            "select version, event_type, cast(payload as text) from order_events
              where order_id = '{order_id}' order by sequence"
        ));
        match &self.database {
            Database::Postgres(postgres) => {
                let rows = sqlx::query(query).fetch_all(&postgres.pool).await.expect("the outbox");
                rows.iter()
                    .map(|row| EventRow { version: row.get(0), event_type: row.get(1), payload: row.get(2) })
                    .collect()
            }
            Database::Sqlite(sqlite) => {
                let mut connection = sqlite.connect().await.expect("the file");
                let rows = sqlx::query(query).fetch_all(&mut connection).await.expect("the outbox");
                rows.iter()
                    .map(|row| EventRow { version: row.get(0), event_type: row.get(1), payload: row.get(2) })
                    .collect()
            }
        }
    }

    /// The order as its events tell it.
    pub(crate) async fn replayed(&self, order_id: OrderId) -> Order {
        Order::from_events(self.history(order_id).await).expect("a history")
    }

    pub(crate) async fn history(&self, order_id: OrderId) -> Vec<(Version, OrderEvent)> {
        self.events(order_id).await.iter().map(EventRow::event).collect()
    }

    pub(crate) async fn create(&self) -> Order {
        self.store.create(NewOrder::new(customer(), Currency::EUR), Request::new()).await.expect("an order")
    }

    /// An order with this many items, made in one transaction.
    pub(crate) async fn with_items(&self, items: usize) -> Order {
        async fn add<C: OrderConnection>(connection: &mut C, order: Order, items: usize) -> Order {
            let mut orders = InTransaction::new(connection);
            let mut order = order;
            for _ in 0..items {
                order = orders.add_item(order.id(), milk(2), Request::new()).await.expect("an item");
            }
            order
        }
        let order = self.create().await;
        match &self.database {
            Database::Postgres(postgres) => {
                let mut transaction = postgres.pool.begin().await.expect("a transaction");
                let order = add(&mut *transaction, order, items).await;
                transaction.commit().await.expect("a commit");
                order
            }
            Database::Sqlite(sqlite) => {
                let mut connection = sqlite.connect().await.expect("the file");
                let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");
                let order = add(&mut *transaction, order, items).await;
                transaction.commit().await.expect("a commit");
                order
            }
        }
    }

    pub(crate) async fn scheduled(&self, items: usize) -> Order {
        let order = self.with_items(items).await;
        self.store.schedule(order.id(), noon(), Request::new()).await.expect("scheduled")
    }

    pub(crate) async fn cancelled(&self) -> Order {
        let order = self.scheduled(1).await;
        self.store.cancel(order.id(), Request::new()).await.expect("cancelled")
    }
}

impl Sqlite {
    pub(crate) async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        let options: SqliteConnectOptions = self.url.parse()?;
        SqliteConnection::connect_with(&options.foreign_keys(true).busy_timeout(std::time::Duration::from_secs(30)))
            .await
    }
}

impl EventRow {
    pub(crate) fn event(&self) -> (Version, OrderEvent) {
        let event_type: EventType = self.event_type.parse().expect("an event type");
        let mut payload = serde_json::Deserializer::from_str(&self.payload);
        let event = OrderEvent::from_payload(event_type, &mut payload).expect("a payload of this type");
        (Version::new(self.version).expect("a version"), event)
    }
}

pub(crate) fn customer() -> CustomerId {
    Uuid::now_v7().into()
}

pub(crate) fn milk(quantity: u16) -> NewItem {
    let price = Money::from_minor(149, Currency::EUR).expect("a price");
    NewItem::new(Sku::new("milk").expect("a SKU"), pieces(quantity), price)
}

pub(crate) fn pieces(quantity: u16) -> Quantity {
    Quantity::new(quantity).expect("a quantity")
}

pub(crate) fn version(number: i64) -> Version {
    Version::new(number).expect("a version")
}

pub(crate) fn nobody() -> OrderId {
    Uuid::now_v7().into()
}

pub(crate) fn nothing() -> ItemId {
    Uuid::now_v7().into()
}

pub(crate) fn noon() -> DeliveryWindow {
    window("2026-10-02T12:00:00Z", "2026-10-02T14:30:00.123456Z")
}

pub(crate) fn window(starts_at: &str, ends_at: &str) -> DeliveryWindow {
    DeliveryWindow::new(starts_at.parse().expect("a time"), ends_at.parse().expect("a time")).expect("a window")
}
