//! Checks that the database's file is still the one that was opened.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::StoreError;

/// The file that the store opened, and the log beside it.
///
/// A file that is deleted or replaced stays open: SQLite goes on writing to it, and everything is gone when the program
/// ends. So the store looks before each request, and after each commit.
#[derive(Debug, Clone)]
pub(super) struct DatabaseFile {
    path: Arc<Path>,
    log_path: Arc<Path>,
    opened: Arc<Mutex<Opened>>,
}

/// The files that are open, as far as they are known; without an identity nothing is compared.
#[derive(Debug, Clone, Copy, Default)]
struct Opened {
    database: Option<Identity>,
    /// Since the writer's present connection was opened: each may make another log.
    log: Option<Identity>,
    /// Another file was seen, once and for all.
    replaced: bool,
}

/// Device and inode, where the system has them: what distinguishes files of one name.
type Identity = (u64, u64);

impl DatabaseFile {
    /// The file at this path, which is opened next.
    pub(super) fn new(path: &Path) -> Self {
        let mut log_path = path.as_os_str().to_owned();
        log_path.push("-wal");
        Self { path: path.into(), log_path: PathBuf::from(log_path).into(), opened: Arc::default() }
    }

    /// Remembers the file that is at the path now.
    pub(super) fn opened(&self) {
        self.state().database = identity(&self.path);
    }

    /// Checks that the path still leads to the file that is open.
    pub(super) fn confirm(&self) -> Result<(), StoreError> {
        let mut opened = self.state();
        opened.replaced |= opened.database.is_some() && identity(&self.path) != opened.database;
        if opened.replaced { Err(StoreError::FileReplaced) } else { Ok(()) }
    }

    /// Checks the log too. Only while the writer's connection is held: the log goes with the last connection.
    pub(super) fn confirm_log(&self) -> Result<(), StoreError> {
        let mut opened = self.state();
        opened.replaced |= opened.log.is_some() && identity(&self.log_path) != opened.log;
        drop(opened);
        self.confirm()
    }

    /// Forgets the log: the writer's new connection may have made another.
    pub(super) fn writer_opened(&self) {
        self.state().log = None;
    }

    /// Remembers the log, which the writer's connection holds open from its first commit on.
    pub(super) fn writer_committed(&self) {
        let log = &mut self.state().log;
        *log = log.or_else(|| identity(&self.log_path));
    }

    fn state(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> Option<Identity> {
    None
}
