//! The database's file, and what its errors mean for the feed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::source::SourceError;

/// The longest time that a statement waits for another writer.
const BUSY_TIMEOUT_MS: u64 = 5_000;
/// One connection captures, one acknowledges.
const CONNECTIONS: u32 = 2;

/// The origin of the connections.
#[derive(Debug, Clone)]
pub(super) enum Database {
    /// The source's own, opened anew at each election.
    Own(Box<SqliteConnectOptions>),
    /// The application's.
    Shared(SqlitePool),
}

impl Database {
    /// Opens connections to the file that the path names now.
    pub(super) async fn open(&self) -> Result<SqlitePool, SourceError> {
        match self {
            Self::Shared(pool) => Ok(pool.clone()),
            Self::Own(options) => open(options).await.map_err(classify),
        }
    }
}

async fn open(options: &SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let mut options = options
        .clone()
        .create_if_missing(false)
        .busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))
        .disable_statement_logging();
    // A pool keeps trying to open a file that is not a database; a single connection fails at once.
    let mut connection = options.connect().await?;
    let mode: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&mut connection).await?;
    connection.close().await?;
    if mode == "wal" {
        // An acknowledgement that a power failure undoes costs only repetition: it need not wait for the disk, nor make a
        // writer of the application wait.
        options = options.synchronous(SqliteSynchronous::Normal);
    }
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false);
    pool.idle_timeout(None).max_lifetime(None).connect_with(options).await
}

/// Returns the path of the database's file.
pub(super) async fn path(pool: &SqlitePool) -> Result<PathBuf, SourceError> {
    let asked = sqlx::query_scalar("select file from pragma_database_list where name = 'main'");
    let file: Option<String> = asked.fetch_one(pool).await.map_err(classify)?;
    match file {
        Some(file) if !file.is_empty() => Ok(PathBuf::from(file)),
        _ => Err(SourceError::fatal(
            "the database is in memory: a restart would lose it, and a second relay could not be excluded",
            "give the feed a database in a file",
        )),
    }
}

/// Waits until the changes that were read are on the disk.
///
/// In WAL mode with `synchronous = NORMAL` a commit can be read, and published, and be gone after a power failure. Opening
/// and closing the log file is safe: SQLite's locks are on the other two files (closing any descriptor of a file drops a
/// process's POSIX locks on it).
pub(super) async fn sync_log(database_path: &Path) -> Result<(), SourceError> {
    let mut log = database_path.as_os_str().to_owned();
    log.push("-wal");
    let synced = tokio::task::spawn_blocking(move || match File::open(log) {
        Ok(log) => log.sync_data(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    });
    synced.await.map_err(SourceError::transient)?.map_err(SourceError::transient)
}

/// Classifies an error of SQLite by what the feed does next: <https://sqlite.org/rescode.html>.
pub(super) fn classify(error: sqlx::Error) -> SourceError {
    const CANT_OPEN: i64 = 14;
    const READ_ONLY: i64 = 8;
    const NOT_A_DATABASE: i64 = 26;
    const CORRUPT: i64 = 11;
    let remedy = match &error {
        sqlx::Error::Database(refusal) => {
            let extended: i64 = refusal.code().and_then(|code| code.parse().ok()).unwrap_or_default();
            match extended & 0xff {
                CANT_OPEN => "create the database first, and let the feed's process read and write its file and folder",
                READ_ONLY => "let the feed's process write to the database, where it stores its position",
                NOT_A_DATABASE | CORRUPT => "restore the database from a backup",
                _ if refusal.message().starts_with("no such") => {
                    "install the outbox (see change_feed::outbox::Guard), or name the right one"
                }
                _ => return SourceError::transient(error),
            }
        }
        sqlx::Error::Configuration(_) => "write the database's URL as sqlite:path/to/file.db",
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            "give the outbox the columns that change_feed::outbox::Guard makes"
        }
        _ => return SourceError::transient(error),
    };
    SourceError::Fatal {
        what: "the feed can't use the SQLite database".to_owned(),
        remedy: remedy.to_owned(),
        source: Some(Box::new(error)),
    }
}
