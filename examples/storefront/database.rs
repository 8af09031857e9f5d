//! The database that the orders are in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use change_feed::Wake;
use chrono::Utc;
use order_domain::{Currency, CustomerId, NewOrder};
use order_store::{InTransaction, OrderStore, PostgresOrderStore, Request, SqliteOrderStore, StoreError};
use sqlx::postgres::PgConnectOptions;

/// The database that the orders are in.
#[derive(Clone)]
pub(crate) struct Database {
    url: DatabaseUrl,
    kind: Kind,
    /// Wakes the source after a commit of this process.
    wake: Wake,
}

#[derive(Clone)]
enum Kind {
    Sqlite(SqliteOrderStore),
    Postgres(PostgresOrderStore),
}

/// Why the database can't be used, and what to do. No password is shown.
#[derive(Debug, thiserror::Error)]
#[error("can't use the database ({place}); nothing was changed; {remedy}")]
pub(crate) struct DatabaseError {
    place: String,
    remedy: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

const WRITABLE_FILE: &str =
    "choose a database file that this program can write, in a folder that is there, with DATABASE_URL";

impl Database {
    /// Opens the database, and brings its tables to the version of this program.
    pub(crate) async fn open(url: &DatabaseUrl, wake: Wake) -> Result<Self, DatabaseError> {
        let unusable = |remedy, source| DatabaseError { place: url.to_string(), remedy, source };
        let kind = open(url).await.map_err(|error| unusable(remedy(url, &error), error.into()))?;
        if let Kind::Sqlite(store) = &kind {
            takes_writes(store).await.map_err(|error| unusable(WRITABLE_FILE, error.into()))?;
        }
        Ok(Self { url: url.clone(), kind, wake })
    }

    /// The store.
    pub(crate) fn store(&self) -> Arc<dyn OrderStore> {
        match &self.kind {
            Kind::Sqlite(store) => Arc::new(store.clone()),
            Kind::Postgres(store) => Arc::new(store.clone()),
        }
    }

    /// The PostgreSQL store and its URL, if that is what it is.
    pub(crate) fn postgres(&self) -> Option<(&PostgresOrderStore, &str)> {
        match (&self.kind, &self.url) {
            (Kind::Postgres(store), DatabaseUrl::Postgres { url, .. }) => Some((store, url)),
            _ => None,
        }
    }

    /// The URL of the SQLite file, if that is what it is.
    pub(crate) fn sqlite_url(&self) -> Option<&str> {
        match &self.url {
            DatabaseUrl::Sqlite { url, .. } => Some(url),
            DatabaseUrl::Postgres { .. } => None,
        }
    }

    /// Wakes the source after a commit of this process.
    pub(crate) fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Writes something that changes no order, to find out whether the disk has room for an order.
    pub(crate) async fn write_something(&self) -> Result<(), StoreError> {
        match &self.kind {
            // SQLite needs room only when it writes a page, so this must commit.
            Kind::Sqlite(store) => {
                let same = sqlx::query("update order_store_migrations set version = version");
                same.execute(store.writer()).await.map(drop).map_err(StoreError::unavailable)
            }
            // PostgreSQL needs room already for the new row, so this can be rolled back.
            Kind::Postgres(store) => {
                let mut transaction = store.pool().begin().await.map_err(StoreError::unavailable)?;
                let order = NewOrder::new(CustomerId::generate(Utc::now()), Currency::EUR);
                InTransaction::new(&mut *transaction).create(order, Request::new()).await?;
                transaction.rollback().await.map_err(StoreError::unavailable)
            }
        }
    }

    /// Why it can't be used, with what to do.
    pub(crate) fn unusable(
        &self,
        remedy: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> DatabaseError {
        DatabaseError { place: self.url.to_string(), remedy, source: source.into() }
    }

    /// What it is, in words, without a password.
    pub(crate) fn words(&self) -> String {
        self.url.to_string()
    }

    /// Closes its connections.
    pub(crate) async fn close(&self) {
        match &self.kind {
            Kind::Sqlite(store) => store.close().await,
            Kind::Postgres(store) => store.close().await,
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("url", &self.url).finish_non_exhaustive()
    }
}

async fn open(url: &DatabaseUrl) -> Result<Kind, StoreError> {
    match url {
        DatabaseUrl::Sqlite { url, .. } => {
            let store = SqliteOrderStore::connect(url).await?;
            store.migrate().await?;
            Ok(Kind::Sqlite(store))
        }
        DatabaseUrl::Postgres { url, .. } => {
            let store = PostgresOrderStore::connect(url).await?;
            store.migrate().await?;
            Ok(Kind::Postgres(store))
        }
    }
}

/// Checks whether SQLite may write the file. It opens a read-only file without an error, and then refuses the first
/// order.
async fn takes_writes(store: &SqliteOrderStore) -> Result<(), sqlx::Error> {
    /// <https://sqlite.org/rescode.html#readonly>; the lowest byte is the kind.
    const READ_ONLY: u32 = 8;
    let is_read_only = |error: &sqlx::Error| {
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
        code.is_some_and(|code| code & 0xff == READ_ONLY)
    };
    // Needs the right to write, and writes nothing. (BEGIN IMMEDIATE succeeds on a read-only file.)
    let nothing = sqlx::query("update order_store_migrations set version = version where false");
    match nothing.execute(store.writer()).await {
        Ok(_) => Ok(()),
        Err(error) if is_read_only(&error) => Err(error),
        // Another program writes at this moment: so the file can be written.
        Err(_) => Ok(()),
    }
}

fn remedy(url: &DatabaseUrl, error: &StoreError) -> &'static str {
    match (error, url) {
        // Its message says what to do.
        (StoreError::SchemaVersion { .. }, _) => "see below",
        (_, DatabaseUrl::Sqlite { .. }) => WRITABLE_FILE,
        (_, DatabaseUrl::Postgres { .. }) => "start the server, or correct DATABASE_URL",
    }
}

/// A `DATABASE_URL` that the storefront can't use, and what it can use. The error never repeats the URL.
#[derive(Debug, thiserror::Error)]
#[error("DATABASE_URL{0}")]
pub(crate) struct InvalidDatabaseUrl(String);

/// A database, as `DATABASE_URL` names it. What it shows of itself has no password.
#[derive(Clone)]
pub(crate) enum DatabaseUrl {
    /// A file.
    Sqlite {
        /// The whole URL.
        url: String,
        /// The file.
        file: PathBuf,
    },
    /// A server.
    Postgres {
        /// The whole URL, with the password.
        url: String,
        /// Where it is, without the password.
        place: String,
    },
}

impl DatabaseUrl {
    /// Reads a URL. Errors don't repeat it: it may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidDatabaseUrl> {
        match url.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest)) {
            Some((scheme, rest)) if scheme == "sqlite" => sqlite(url, rest),
            Some((scheme, _)) if matches!(&*scheme, "postgres" | "postgresql") => postgres(url),
            Some((scheme, _)) if is_scheme(&scheme) => Err(InvalidDatabaseUrl(format!(
                ": {scheme:?} is not a database that the storefront knows; use {FORMS}"
            ))),
            _ => Err(InvalidDatabaseUrl(format!(" is not a URL; use {FORMS}"))),
        }
    }
}

const FORMS: &str = "sqlite:FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE";

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { file, .. } => write!(f, "SQLite, the file {}", file.display()),
            Self::Postgres { place, .. } => write!(f, "PostgreSQL, {place}"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

fn sqlite(url: &str, rest: &str) -> Result<DatabaseUrl, InvalidDatabaseUrl> {
    let file = rest.strip_prefix("//").unwrap_or(rest);
    let file = file.split_once('?').map_or(file, |(file, _)| file);
    if file.is_empty() || file == ":memory:" || rest.contains("mode=memory") {
        // Store and feed have connections of their own: to SQLite each would be another database.
        return Err(InvalidDatabaseUrl(": the storefront needs a SQLite file, like sqlite:storefront.db".to_owned()));
    }
    Ok(DatabaseUrl::Sqlite { url: url.to_owned(), file: Path::new(file).to_owned() })
}

fn postgres(url: &str) -> Result<DatabaseUrl, InvalidDatabaseUrl> {
    let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| {
        // sqlx's errors name the part that is wrong, never the URL; its cause says why.
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        InvalidDatabaseUrl(format!(" is malformed: {cause}; use {FORMS}"))
    })?;
    let server = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    let place = format!("database {database} on {server} as {}", options.get_username());
    Ok(DatabaseUrl::Postgres { url: url.to_owned(), place })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_shown_without_its_password() {
        for url in
            ["postgres://shop:s3cret@db.example:5433/orders", "postgresql://db.example/x?user=shop&password=s3cret"]
        {
            let database = DatabaseUrl::parse(url).expect(url);
            for shown in [database.to_string(), format!("{database:?}")] {
                assert!(shown.contains("db.example") && shown.contains("shop"), "{shown}");
                assert!(!shown.contains("s3cret"), "{shown}");
            }
        }
    }

    #[test]
    fn a_sqlite_file_is_named_in_any_of_its_forms() {
        for url in ["sqlite:shop.db", "sqlite://shop.db", "SQLITE:shop.db", "sqlite:shop.db?mode=rwc"] {
            let shown = DatabaseUrl::parse(url).expect(url).to_string();
            assert_eq!(shown, "SQLite, the file shop.db");
        }
    }

    #[test]
    fn other_urls_are_refused_without_being_repeated() {
        for url in [
            "mysql://shop:s3cret@db/orders",
            "shop.db-s3cret",
            "postgres://shop:s3cret@db:99999/orders",
            "postgres://shop:s3cret@db:port/orders",
            "sqlite::memory:",
            "sqlite:",
            "sqlite:file?mode=memory",
            "//s3cret@db",
            "",
        ] {
            let refused = DatabaseUrl::parse(url).expect_err(url).to_string();
            assert!(refused.starts_with("DATABASE_URL"), "{refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }
}
