//! The election of the capturing relay: an exclusive lock on a file beside the database.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::feed::identity::FeedName;
use crate::source::SourceError;

/// The interval at which a standby relay tries to take the lock.
const STANDBY_INTERVAL_MS: u64 = 200;
/// The interval at which the holder checks that its files are still those of the paths.
const CONFIRM_INTERVAL_MS: u64 = 1_000;

/// A won election, held until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Election {
    lock: File,
    lock_path: PathBuf,
    database_path: PathBuf,
    database: Option<Identity>,
    confirmed_at: Instant,
}

/// Identifies a file, if the system has such an identity.
type Identity = (u64, u64);

impl Election {
    /// Waits until this relay holds the feed's lock.
    pub(super) async fn win(database_path: &Path, feed: &FeedName) -> Result<Self, SourceError> {
        let mut name = database_path.as_os_str().to_owned();
        name.push(format!(".{feed}.lock"));
        let lock_path = PathBuf::from(name);
        let mut announced = false;
        loop {
            let lock = open(&lock_path)?;
            match lock.try_lock() {
                // If somebody removed the file meanwhile, another relay could lock its successor.
                Ok(()) if is_at(&lock, &lock_path) => {
                    tracing::info!(target: "change_feed::source", %feed, lock = %lock_path.display(), "elected");
                    return Ok(Self {
                        lock,
                        lock_path,
                        database: std::fs::metadata(database_path).ok().and_then(|found| identity(&found)),
                        database_path: database_path.to_owned(),
                        confirmed_at: Instant::now(),
                    });
                }
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(refused(&lock_path, error)),
            }
            if !announced {
                tracing::info!(target: "change_feed::source", %feed, "another relay is active; standing by");
                announced = true;
            }
            tokio::time::sleep(Duration::from_millis(STANDBY_INTERVAL_MS)).await;
        }
    }

    /// Checks that neither the database nor the lock file was replaced, at most once a second.
    pub(super) fn confirm_from_time_to_time(&mut self) -> Result<(), SourceError> {
        if self.confirmed_at.elapsed() < Duration::from_millis(CONFIRM_INTERVAL_MS) {
            return Ok(());
        }
        self.confirm()
    }

    /// Checks that neither the database nor the lock file was replaced.
    pub(super) fn confirm(&mut self) -> Result<(), SourceError> {
        if !is_at(&self.lock, &self.lock_path) {
            return Err(SourceError::transient(format!("{} was replaced", self.lock_path.display())));
        }
        let found = std::fs::metadata(&self.database_path).ok().and_then(|found| identity(&found));
        if found != self.database {
            return Err(SourceError::transient(format!("{} was replaced", self.database_path.display())));
        }
        self.confirmed_at = Instant::now();
        Ok(())
    }
}

fn open(path: &Path) -> Result<File, SourceError> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    opened.map_err(|error| refused(path, error))
}

fn refused(path: &Path, error: io::Error) -> SourceError {
    SourceError::Fatal {
        what: format!("the lock file {} can't be used, so nothing was captured", path.display()),
        remedy: "let the feed's process write in the database's folder, on a file system with locks".to_owned(),
        source: Some(Box::new(error)),
    }
}

/// Whether `file` is the file at this path.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(found)) => identity(&held) == identity(&found),
        _ => false,
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<Identity> {
    None
}
