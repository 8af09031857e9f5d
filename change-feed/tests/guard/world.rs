//! Tables of a test's own, on the databases that the guard speaks to.

use std::path::PathBuf;

use change_feed::outbox::{Dialect, Guard, violated_constraint};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

use crate::guard::unsafe_guards;

/// What a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Postgres,
    /// The key from a version to its event in the guard's own table, as for tables that exist.
    Sqlite,
    /// The key in the `create table` of the orders.
    SqliteWithKey,
}

/// How much of the guard stands on the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    Guard,
    None,
    /// Unsafe: the key from a version to its event, and nothing else.
    KeyAlone,
    /// Unsafe: that key, and a trigger that reads the order's state.
    PlainRead,
    /// Unsafe: the sequence number is drawn before the order's lock.
    NumberBeforeLock,
}

/// Who asks. SQLite has no roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Owner,
    Application,
}

/// The role of the application in these tests: it owns nothing. Shared by all tests, and left behind.
pub(crate) const APPLICATION_ROLE: &str = "guard_test_application";

/// Ids for the statements of tests, written as `:a`: two open orders, a cancelled one, one that does not exist yet.
const IDS: [(&str, &str); 8] = [
    (":a", "'00000000-0000-7000-8000-00000000000a'"),
    (":b", "'00000000-0000-7000-8000-00000000000b'"),
    (":c", "'00000000-0000-7000-8000-00000000000c'"),
    (":n", "'00000000-0000-7000-8000-00000000000d'"),
    (":i", "'00000000-0000-7000-8000-000000000101'"),
    (":j", "'00000000-0000-7000-8000-000000000102'"),
    (":k", "'00000000-0000-7000-8000-000000000103'"),
    (":x", "'00000000-0000-7000-8000-000000000104'"),
];

/// The tables of orders, guarded, in a schema or a file of their own.
pub(crate) struct World {
    pub(crate) guard: Guard,
    place: Place,
}

enum Place {
    Postgres { schema: String },
    Sqlite { path: PathBuf, _folder: TempDir },
}

pub(crate) enum Session {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// Why a statement was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The name of the constraint; a foreign key of SQLite has none and is called so.
    pub(crate) by: String,
    /// How many statements went through before it.
    pub(crate) after: usize,
}

impl World {
    /// Orders `:a` and `:b`, open at version 2 with the items `:i` and `:j`, and `:c`, cancelled at version 3 with `:k`.
    pub(crate) async fn new(database: Database) -> Self {
        let world = Self::empty(database, Rules::Guard).await;
        let mut owner = world.session(Role::Owner).await;
        for (order, item) in [(":a", ":i"), (":b", ":j"), (":c", ":k")] {
            owner.transaction("", &[&create(order), &event(order, 1)]).await.expect("a new order");
            let added = [&*step(order), &add(order, item), &told(order, 2, "added", item)];
            owner.transaction("", &added).await.expect("its item");
        }
        let cancel = "update orders set version = version + 1, status = 'cancelled' where order_id = :c";
        owner.transaction("", &[cancel, &told(":c", 3, "cancelled", "")]).await.expect("cancelled");
        world
    }

    /// No order at all, and the rules that are asked for.
    pub(crate) async fn empty(database: Database, rules: Rules) -> Self {
        let guard = Guard::new("orders")
            .key("order_id")
            .final_state("status", "cancelled")
            .children("order_items", "order_id")
            .children_key(["rowid"])
            .outbox("order_events");
        match database {
            Database::Postgres => Self::on_postgres(guard, rules).await,
            Database::Sqlite => Self::on_sqlite(guard, rules, "").await,
            Database::SqliteWithKey => {
                let guard = guard.version_key_declared();
                let clause = format!(", {}", guard.version_key_clause());
                Self::on_sqlite(guard, rules, &clause).await
            }
        }
    }

    async fn on_postgres(guard: Guard, rules: Rules) -> Self {
        let schema = format!("guard_{}", Uuid::now_v7().simple());
        let guard = guard.schema(&schema);
        let mut admin = administrator().await;
        // Roles belong to the whole cluster: tests that start together make it one after the other.
        let role = format!(
            "select pg_advisory_lock(hashtext('{APPLICATION_ROLE}'));
             do $$ begin
                 if not exists (select from pg_roles where rolname = '{APPLICATION_ROLE}') then
                     create role {APPLICATION_ROLE} nologin;
                 end if;
             end $$;"
        );
        admin.execute(AssertSqlSafe(role)).await.expect("the application's role");
        let mut owner = PgConnection::connect(&environment("DATABASE_URL")).await.expect("the owner connects");
        let user: String =
            sqlx::query_scalar("select quote_ident(current_user)").fetch_one(&mut owner).await.expect("a user");
        let grant = format!("grant {APPLICATION_ROLE} to {user}");
        admin.execute(AssertSqlSafe(grant)).await.expect("membership of the role");
        admin.close().await.expect("the administrator leaves");
        let mut script = format!("create schema {schema}; set search_path = {schema};");
        script.push_str(&tables("uuid", "bigint", ""));
        match rules {
            Rules::Guard => script.push_str(&guard.sql(Dialect::Postgres)),
            rules => {
                script.push_str(&guard.outbox_sql(Dialect::Postgres));
                script.push_str(&unsafe_guards::rules(&guard, rules, Dialect::Postgres));
            }
        }
        // More than an application should have: what is refused then is refused by the rules.
        script.push_str(&format!(
            "grant usage on schema {schema} to {APPLICATION_ROLE};
             grant all on orders, order_items, order_events to {APPLICATION_ROLE};
             grant usage on sequence order_events_sequence to {APPLICATION_ROLE};"
        ));
        owner.execute(AssertSqlSafe(script)).await.expect("the tables");
        Self { guard, place: Place::Postgres { schema } }
    }

    async fn on_sqlite(guard: Guard, rules: Rules, clause: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("orders.db");
        let world = Self { guard, place: Place::Sqlite { path, _folder: folder } };
        let mut script = tables("text", "integer", clause);
        match rules {
            Rules::Guard => script.push_str(&world.guard.sql(Dialect::Sqlite)),
            rules => {
                script.push_str(&world.guard.outbox_sql(Dialect::Sqlite));
                script.push_str(&unsafe_guards::rules(&world.guard, rules, Dialect::Sqlite));
            }
        }
        let mut owner = world.session(Role::Owner).await;
        owner.run(&script).await.expect("the tables");
        world
    }

    pub(crate) async fn session(&self, role: Role) -> Session {
        match &self.place {
            Place::Postgres { schema } => {
                let mut connection =
                    PgConnection::connect(&environment("DATABASE_URL")).await.expect("a connection to PostgreSQL");
                let path = format!("set search_path = {schema}");
                connection.execute(AssertSqlSafe(path)).await.expect("the schema");
                if role == Role::Application {
                    let role = format!("set role {APPLICATION_ROLE}");
                    connection.execute(AssertSqlSafe(role)).await.expect("the application's role");
                }
                Session::Postgres(connection)
            }
            Place::Sqlite { path, .. } => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .busy_timeout(std::time::Duration::from_secs(60));
                Session::Sqlite(SqliteConnection::connect_with(&options).await.expect("a connection to SQLite"))
            }
        }
    }

    pub(crate) fn schema(&self) -> &str {
        match &self.place {
            Place::Postgres { schema } => schema,
            Place::Sqlite { .. } => "main",
        }
    }
}

impl Session {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres(_) => Dialect::Postgres,
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Gives durability up for speed, where a test needs many commits.
    pub(crate) async fn hurry(&mut self) {
        match self.dialect() {
            Dialect::Postgres => self.run("set synchronous_commit = off").await,
            _ => self.run("pragma synchronous = off").await,
        }
        .expect("a setting of the session");
    }

    /// Runs statements that answer nothing.
    pub(crate) async fn run(&mut self, sql: &str) -> sqlx::Result<()> {
        let sql = AssertSqlSafe(with_ids(sql));
        match self {
            Self::Postgres(connection) => sqlx::raw_sql(sql).execute(connection).await.map(|_| ()),
            Self::Sqlite(connection) => sqlx::raw_sql(sql).execute(connection).await.map(|_| ()),
        }
    }

    /// The rows of a query whose columns are texts or null.
    pub(crate) async fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let sql = AssertSqlSafe(with_ids(sql));
        fn texts<R: Row>(row: &R) -> Vec<Option<String>>
        where
            usize: sqlx::ColumnIndex<R>,
            Option<String>: for<'r> sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
        {
            (0..row.len()).map(|column| row.get(column)).collect()
        }
        match self {
            Self::Postgres(connection) => {
                connection.fetch_all(sqlx::query(sql)).await.expect("rows").iter().map(texts).collect()
            }
            Self::Sqlite(connection) => {
                connection.fetch_all(sqlx::query(sql)).await.expect("rows").iter().map(texts).collect()
            }
        }
    }

    /// One transaction of these statements. A refused one is rolled back.
    pub(crate) async fn transaction(&mut self, isolation: &str, statements: &[&str]) -> Result<(), Refused> {
        match self.dialect() {
            Dialect::Postgres => self.run(&format!("begin {isolation}")).await.expect("begin"),
            _ => self.run("begin immediate").await.expect("begin immediate"),
        }
        for (after, statement) in statements.iter().chain(&["commit"]).enumerate() {
            if let Err(error) = self.run(statement).await {
                let by = reason(&error);
                // PostgreSQL has rolled back already where the commit was refused, and warns.
                self.run("rollback").await.expect("rollback");
                return Err(Refused { by, after });
            }
        }
        Ok(())
    }
}

/// The name of what refused, or else the database's code or words.
pub(crate) fn reason(error: &sqlx::Error) -> String {
    if let Some(name) = violated_constraint(error) {
        return name;
    }
    let Some(error) = error.as_database_error() else { return error.to_string() };
    match error.code().as_deref() {
        Some("787") => "a foreign key of SQLite".to_owned(),
        Some(code) if code.len() == 5 => code.to_owned(),
        _ => error.message().to_owned(),
    }
}

pub(crate) fn create(order: &str) -> String {
    format!("insert into orders (order_id, version) values ({order}, 1)")
}

pub(crate) fn step(order: &str) -> String {
    format!("update orders set version = version + 1 where order_id = {order}")
}

pub(crate) fn add(order: &str, item: &str) -> String {
    format!("insert into order_items (order_id, item_id, quantity) values ({order}, {item}, 1)")
}

/// An event that tells of nothing.
pub(crate) fn event(order: &str, version: u32) -> String {
    told(order, version, "changed", "")
}

/// An event that the oracle understands.
pub(crate) fn told(order: &str, version: u32, event_type: &str, item: &str) -> String {
    let item = with_ids(item).replace('\'', "");
    format!(
        "insert into order_events (order_id, version, event_type, payload)
         values ({order}, {version}, '{event_type}', '{{\"item\":\"{item}\"}}')"
    )
}

fn with_ids(sql: &str) -> String {
    // A cast of PostgreSQL's is not an id.
    let casts_apart = sql.replace("::", "\0");
    IDS.iter().fold(casts_apart, |sql, (name, id)| sql.replace(name, id)).replace('\0', "::")
}

fn tables(id: &str, integer: &str, clause: &str) -> String {
    format!(
        "create table orders (
             order_id {id} not null primary key,
             number {integer} unique,
             status text not null default 'open' check (status in ('open', 'scheduled', 'cancelled')),
             version {integer} not null{clause}
         );
         create table order_items (
             order_id {id} not null references orders (order_id),
             item_id {id} not null,
             quantity {integer} not null,
             primary key (order_id, item_id)
         );"
    )
}

pub(crate) fn environment(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) => value,
        Err(_) => panic!("{name} is not set: run scripts/test, or eval \"$(scripts/services env)\""),
    }
}

/// A session of whoever may do everything on the server.
pub(crate) async fn administrator() -> PgConnection {
    PgConnection::connect(&environment("ADMIN_DATABASE_URL")).await.expect("the administrator connects")
}

/// A client program of PostgreSQL, of the server's version.
pub(crate) fn program(name: &str) -> PathBuf {
    PathBuf::from(environment("PG_BIN")).join(name)
}
