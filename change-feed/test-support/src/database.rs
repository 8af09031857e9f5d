//! A database of a test's own.

use std::cell::RefCell;
use std::io;
use std::thread::JoinHandle;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use uuid::Uuid;

use crate::environment::required;
use crate::patience::{PATIENCE, POLL_INTERVAL, until};

/// More than any test uses at once. A pool opens only those that are used.
const CONNECTIONS_MAX: u32 = 24;

/// A database of a test's own. Dropping this ends whatever uses it and removes it, with its replication slots.
#[derive(Debug)]
pub struct Database {
    /// Connections to it.
    pub pool: PgPool,
    /// Where it is.
    pub options: PgConnectOptions,
    /// No other database of the server has it.
    pub name: String,
    server: PgConnectOptions,
}

impl Database {
    /// Makes one on the server that all tests share, by the role that may do everything there.
    pub async fn by_administrator(purpose: &str) -> Self {
        Self::create(purpose, &required("ADMIN_DATABASE_URL")).await
    }

    /// Makes one on the server of `url`, by its role. Its name begins with `purpose`.
    pub async fn create(purpose: &str, url: &str) -> Self {
        Self::named(&format!("{purpose}_{}", Uuid::now_v7().simple()), url).await
    }

    /// Makes one with these options of `create database`, on the server of `url`, by its role.
    pub async fn with_options(purpose: &str, url: &str, options: &str) -> Self {
        Self::make(&format!("{purpose}_{}", Uuid::now_v7().simple()), url, options).await
    }

    /// Makes one of this name on the server of `url`, by its role.
    pub async fn named(name: &str, url: &str) -> Self {
        Self::make(name, url, "encoding 'UTF8'").await
    }

    async fn make(name: &str, url: &str, options: &str) -> Self {
        let server: PgConnectOptions = url.parse().expect("the URL of a server");
        let server = server.disable_statement_logging();
        let mut connection = server.connect().await.expect("the server answers");
        // Nobody can be connected to this template, so that databases are made side by side.
        execute(&mut connection, &format!("create database {name} template template0 {options}")).await;
        connection.close().await.expect("the connection ends");
        let options = server.clone().database(name);
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect_lazy_with(options.clone());
        Self { pool, options, name: name.to_owned(), server }
    }

    /// Where it is, with the role that made it.
    pub fn url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }

    /// A connection outside of the pool.
    pub async fn connect(&self) -> PgConnection {
        self.options.connect().await.expect("a connection")
    }

    /// Runs statements that answer nothing.
    pub async fn run(&self, script: &str) {
        execute(&mut self.pool.acquire().await.expect("a connection"), script).await;
    }

    /// The one value of a query, which is a text or null.
    pub async fn text(&self, query: &str) -> Option<String> {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&self.pool).await.expect(query)
    }

    /// Waits until the condition holds.
    pub async fn until(&self, condition: &str) {
        let holds = format!("select ({condition})::text");
        until(condition, async || self.text(&holds).await.as_deref() == Some("true")).await;
    }
}

/// Runs statements that answer nothing.
pub async fn execute(connection: &mut PgConnection, script: &str) {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(script.to_owned()))).await.expect(script);
}

thread_local! {
    static REMOVALS: Removals = const { Removals(RefCell::new(Vec::new())) };
}

/// Removals of databases, which the thread of a test waits for when it ends. To wait at once could take for ever: what this
/// thread runs may be connecting, and the server removes no database while a client is silent in its authentication.
struct Removals(RefCell<Vec<JoinHandle<()>>>);

impl Drop for Removals {
    fn drop(&mut self) {
        for removal in self.0.take() {
            let _: std::thread::Result<()> = removal.join();
        }
    }
}

impl Drop for Database {
    /// A slot that stays would hold back the server's log for ever.
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let removal = std::thread::spawn(move || {
            // Nothing is checked here: a test that failed may have no server any more.
            if let Err(error) = remove_on_this_thread(&server, &name) {
                eprintln!("the database {name} stays: {error}");
            }
        });
        REMOVALS.with(|removals| removals.0.borrow_mut().push(removal));
    }
}

fn remove_on_this_thread(server: &PgConnectOptions, name: &str) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limited = async { tokio::time::timeout(PATIENCE, remove(server, name)).await };
    runtime.block_on(limited)?.map_err(io::Error::other)
}

async fn remove(server: &PgConnectOptions, database: &str) -> sqlx::Result<()> {
    const END: &str =
        "select pg_terminate_backend(active_pid) from pg_replication_slots where database = $1 and active";
    const DROP: &str =
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1 and not active";
    const LEFT: &str = "select count(*) from pg_replication_slots where database = $1";
    let mut connection = server.connect().await?;
    loop {
        let left: i64 = sqlx::query_scalar(LEFT).bind(database).fetch_one(&mut connection).await?;
        if left == 0 {
            break;
        }
        sqlx::query(END).bind(database).execute(&mut connection).await?;
        // Somebody else may have dropped it, or taken it, meanwhile.
        let _: sqlx::Result<_> = sqlx::query(DROP).bind(database).execute(&mut connection).await;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    connection.execute(AssertSqlSafe(format!("drop database if exists {database} with (force)"))).await?;
    connection.close().await
}
