//! Carts in a database of a benchmark's own, on SQLite and PostgreSQL, and sources on their outbox.

use change_feed::outbox::Guard;
use change_feed::outbox::Wake;
use change_feed::{FeedName, PostgresPollSource, Source, SqliteOutboxSource};
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tempfile::TempDir;
use uuid::Uuid;

/// Carts, guarded, in a database of their own.
pub(crate) enum Store {
    /// In WAL mode, with `synchronous=FULL`.
    Sqlite(SqlitePool, TempDir),
    /// On the server of `DATABASE_URL`.
    Postgres(PgPool),
}

/// The rules of the carts.
pub(crate) fn guard() -> Guard {
    Guard::new("carts").key("cart_id").outbox("cart_events")
}

impl Store {
    /// A new file.
    pub(crate) async fn sqlite() -> Self {
        let folder = TempDir::new().expect("a folder for temporary files");
        let options = SqliteConnectOptions::new().filename(folder.path().join("store.db")).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let pool = SqlitePool::connect_with(options).await.expect("a new file");
        let mut connection = pool.acquire().await.expect("a connection");
        let carts = "create table carts (cart_id text primary key not null, version integer not null) strict";
        connection.execute(carts).await.expect("a new table");
        guard().install(&mut *connection).await.expect("a guarded table");
        drop(connection);
        Self::Sqlite(pool, folder)
    }

    /// A new database.
    pub(crate) async fn postgres() -> Self {
        let url = std::env::var("DATABASE_URL").expect("DATABASE_URL: run eval \"$(scripts/services env)\" first");
        let server: PgConnectOptions = url.parse().expect("the URL of a server");
        let name = format!("bench_{}", Uuid::now_v7().simple());
        let mut connection = server.connect().await.expect("the server answers");
        let create = format!("create database {name}");
        connection.execute(AssertSqlSafe(create)).await.expect("a role that creates databases");
        let options = server.database(&name).disable_statement_logging();
        let pool = PgPool::connect_with(options).await.expect("a new database");
        let mut connection = pool.acquire().await.expect("a connection");
        let carts = "create table carts (cart_id uuid primary key, version bigint not null)";
        connection.execute(carts).await.expect("a new table");
        guard().install(&mut *connection).await.expect("a guarded table");
        drop(connection);
        Self::Postgres(pool)
    }

    /// A source on its outbox.
    pub(crate) async fn source(&self, feed: &FeedName, wake: &Wake) -> Box<dyn Source> {
        let (outbox, wake) = (guard().outbox_table(), wake.clone());
        match self {
            Self::Sqlite(_, folder) => {
                let url = format!("sqlite:{}", folder.path().join("store.db").display());
                let source = SqliteOutboxSource::builder(&url, feed).outbox(outbox).wake(wake).connect().await;
                Box::new(source.expect("a file"))
            }
            Self::Postgres(pool) => {
                let url = pool.connect_options().to_url_lossy().to_string();
                let source = PostgresPollSource::builder(&url, feed).outbox(outbox).wake(wake).connect().await;
                Box::new(source.expect("a server"))
            }
        }
    }
}
