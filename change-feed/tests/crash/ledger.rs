//! Accounts and their outbox, guarded, in a database of a test's own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use change_feed::EventId;
use change_feed::outbox::{Event, Guard, GuardError, KeyType, Outbox};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, SqliteConnection};
use test_support::Database;

use super::assignment::Capture;

/// The same on each database.
const HISTORY: &str = "select cast(account_id as text), cast(version as text), cast(event_id as text), \
                       cast(payload as text) from account_events";

/// Accounts and their outbox, in a database of a test's own.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    guard: Guard,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Postgres { database: Arc<Database>, has_slot: bool },
    Sqlite { options: Box<SqliteConnectOptions>, url: String },
}

/// How a commit of PostgreSQL answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commits {
    /// When it is on the disk.
    Durable,
    /// Before: a crash of the server takes the last ones back (`synchronous_commit = off`). SQLite takes no notice.
    Early,
}

/// A connection to the ledger.
pub(crate) enum Session {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// An event that committed.
#[derive(Debug, Clone)]
pub(crate) struct Committed {
    pub(crate) key: String,
    pub(crate) version: u64,
    pub(crate) event_id: EventId,
    pub(crate) transaction: u64,
}

/// What an event says.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// A number that no other transaction has, in any scenario's life: it tells transactions apart on both databases.
    transaction: u64,
}

impl Ledger {
    /// A new database on the server of `server_url`, or a new file in `folder`, with some accounts.
    pub(crate) async fn create(capture: Capture, server_url: &str, folder: &Path, accounts: i64) -> Self {
        let guard = Guard::new("accounts").key("account_id").key_type(KeyType::BigInt).outbox("account_events");
        let ledger = Self { guard, place: Place::create(capture, server_url, folder).await };
        let mut session = ledger.connect(Commits::Durable).await.expect("a new database");
        let tables = "create table accounts (
            account_id bigint not null primary key, balance bigint not null default 0, version bigint not null)";
        session.run(tables).await.expect("a new table");
        session.install(&ledger.guard).await;
        // From before the first event: a slot gives what is written from then on.
        if let Place::Postgres { database, has_slot: true, .. } = &ledger.place {
            session
                .run(&format!("create publication {} for table account_events", database.name))
                .await
                .expect("a publication");
            let slot = format!("select pg_create_logical_replication_slot('{}', 'pgoutput')", database.name);
            session.run(&slot).await.expect("a slot");
        }
        session.begin().await.expect("a transaction");
        for account in 0..accounts {
            ledger.open_account(&mut session, account, 0).await.expect("a new account");
        }
        session.run("commit").await.expect("a commit");
        ledger
    }

    /// How a relay process reaches it.
    pub(crate) fn url(&self) -> String {
        match &self.place {
            Place::Postgres { database, .. } => database.url(),
            Place::Sqlite { url, .. } => url.clone(),
        }
    }

    /// What the log is read by, in the database of this URL: both have its name.
    pub(crate) fn publication_and_slot(url: &str) -> String {
        let options: PgConnectOptions = url.parse().expect("the URL of a database");
        options.get_database().expect("a database by its name").to_owned()
    }

    pub(crate) fn outbox() -> Outbox {
        Outbox::new("account_events", "account_id").key_type(KeyType::BigInt)
    }

    pub(crate) async fn connect(&self, commits: Commits) -> sqlx::Result<Session> {
        match &self.place {
            Place::Postgres { database, .. } => {
                let answer = match commits {
                    Commits::Durable => "on",
                    Commits::Early => "off",
                };
                let options = database.options.clone().options([("synchronous_commit", answer)]);
                options.connect().await.map(Session::Postgres)
            }
            Place::Sqlite { options, .. } => options.connect().await.map(Session::Sqlite),
        }
    }

    /// A new account, in the session's transaction.
    pub(crate) async fn open_account(
        &self,
        session: &mut Session,
        account: i64,
        transaction: u64,
    ) -> Result<(), GuardError> {
        let insert = format!("insert into accounts (account_id, version) values ({account}, 1)");
        session.run(&insert).await.map_err(GuardError::Database)?;
        session.append(&self.guard, "account.opened.v1", account, 1, transaction).await
    }

    /// Changes a balance, in the session's transaction.
    pub(crate) async fn book(
        &self,
        session: &mut Session,
        account: i64,
        amount: i64,
        transaction: u64,
    ) -> Result<(), GuardError> {
        let version = session.step(&self.guard, account).await?;
        let update = format!("update accounts set balance = balance + {amount} where account_id = {account}");
        session.run(&update).await.map_err(GuardError::Database)?;
        session.append(&self.guard, "account.booked.v1", account, version, transaction).await
    }

    /// Everything that committed.
    pub(crate) async fn history(&self) -> sqlx::Result<Vec<Committed>> {
        self.connect(Commits::Durable).await?.history().await
    }

    /// Ends the server's process that reads the log at present, if there is one.
    pub(crate) async fn end_walsender(&self) -> bool {
        let Place::Postgres { database, .. } = &self.place else { return false };
        let mut connection = database.connect().await;
        let end = "select pg_terminate_backend(active_pid) from pg_replication_slots
            where slot_name = $1 and active_pid is not null";
        let ended = sqlx::query_scalar(end).bind(&database.name).fetch_optional(&mut connection).await;
        ended.expect("a role that may end it").unwrap_or(false)
    }
}

impl Place {
    async fn create(capture: Capture, server_url: &str, folder: &Path) -> Self {
        match capture {
            Capture::PostgresPoll | Capture::PostgresLog => {
                let database = Arc::new(Database::create("crash", server_url).await);
                Self::Postgres { database, has_slot: capture == Capture::PostgresLog }
            }
            Capture::Sqlite => {
                let path = folder.join("ledger.db");
                let options = SqliteConnectOptions::new()
                    .filename(&path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .busy_timeout(Duration::from_secs(60))
                    .disable_statement_logging();
                Self::Sqlite { options: Box::new(options), url: format!("sqlite:{}", path.display()) }
            }
        }
    }
}

impl Session {
    /// Begins a transaction that may write.
    pub(crate) async fn begin(&mut self) -> sqlx::Result<()> {
        let begin = match self {
            Self::Postgres(_) => "begin",
            // A transaction that reads first and writes later may be refused with BUSY_SNAPSHOT.
            Self::Sqlite(_) => "begin immediate",
        };
        self.run(begin).await
    }

    pub(crate) async fn run(&mut self, sql: &str) -> sqlx::Result<()> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Postgres(connection) => sql.execute(connection).await.map(drop),
            Self::Sqlite(connection) => sql.execute(connection).await.map(drop),
        }
    }

    async fn install(&mut self, guard: &Guard) {
        let installed = match self {
            Self::Postgres(connection) => guard.install(connection).await,
            Self::Sqlite(connection) => guard.install(connection).await,
        };
        installed.expect("new tables");
    }

    async fn step(&mut self, guard: &Guard, account: i64) -> Result<i64, GuardError> {
        match self {
            Self::Postgres(connection) => guard.begin(connection, account).await,
            Self::Sqlite(connection) => guard.begin(connection, account).await,
        }
    }

    async fn append(
        &mut self,
        guard: &Guard,
        event_type: &str,
        account: i64,
        version: i64,
        transaction: u64,
    ) -> Result<(), GuardError> {
        let entry = Entry { transaction };
        let event = Event::new(event_type, account, version, &entry);
        match self {
            Self::Postgres(connection) => guard.append(connection, event).await,
            Self::Sqlite(connection) => guard.append(connection, event).await,
        }
    }

    async fn history(&mut self) -> sqlx::Result<Vec<Committed>> {
        let rows: Vec<(String, String, String, String)> = match self {
            Self::Postgres(connection) => sqlx::query_as(HISTORY).fetch_all(connection).await?,
            Self::Sqlite(connection) => sqlx::query_as(HISTORY).fetch_all(connection).await?,
        };
        Ok(rows.into_iter().map(committed).collect())
    }
}

fn committed((key, version, event_id, payload): (String, String, String, String)) -> Committed {
    let Entry { transaction } = serde_json::from_str(&payload).expect("an entry");
    Committed {
        key,
        version: version.parse().expect("a version"),
        event_id: EventId::new(event_id.parse().expect("a UUID")),
        transaction,
    }
}
