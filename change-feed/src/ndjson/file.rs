//! A file that holds a feed's records and its position.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::info;

use super::scan::{Covered, Head, ScanError, last_checkpoint};
use super::{LOG, Session, blocking};
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::{FeedName, PublisherIdentity, SourceIdentity};
use crate::publisher::{KeptPosition, PublishError, Resume, Resumed};

/// The file, held by at most one publisher.
#[derive(Debug, Clone)]
pub(super) struct FeedFile {
    path: Arc<Path>,
    open: Arc<Mutex<Option<OpenFile>>>,
    session: Session,
}

/// A file that is locked and stands at a checkpoint, or after it.
#[derive(Debug)]
struct OpenFile {
    file: File,
    id: String,
    kept: Option<Checkpoint>,
    /// Where the last checkpoint, or the head, ends. Everything through here is on the disk.
    durable_len: u64,
    covered: Covered,
    /// Something failed or was abandoned: what follows `durable_len` must be cut off first.
    torn: bool,
}

/// What was being done when the operating system refused.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {path}")]
struct FileError {
    doing: &'static str,
    path: String,
    #[source]
    source: io::Error,
}

impl FeedFile {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: Arc::from(path), open: Arc::default(), session: Session::default() }
    }

    pub(super) async fn resume(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
        let session = self.session.renew();
        let this = self.clone();
        let owner = Owner::of(request);
        blocking(move || this.resume_blocking(session, &owner)).await
    }

    pub(super) async fn write(&self, lines: Vec<u8>, checkpoint: Option<Checkpoint>) -> Result<(), PublishError> {
        let this = self.clone();
        let session = self.session.number();
        blocking(move || this.write_blocking(session, &lines, checkpoint)).await
    }

    fn resume_blocking(&self, session: u64, owner: &Owner) -> Result<Resumed, PublishError> {
        let mut guard = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.session.check(session)?;
        let still_there = guard.as_ref().is_some_and(|open| is_at(&open.file, &self.path));
        if !still_there {
            *guard = None;
        }
        let open = match &mut *guard {
            Some(open) => open,
            none => none.insert(self.open(owner)?),
        };
        if let Some(kept) = &open.kept {
            owner.check(kept)?;
        }
        open.cut().map_err(|error| self.transient("cutting back", error))?;
        let position = match &open.kept {
            Some(kept) => KeptPosition::At(Box::new(kept.clone())),
            None => KeptPosition::NotYet,
        };
        Ok(Resumed::new(PublisherIdentity::new("ndjson-file", &open.id), position))
    }

    fn write_blocking(&self, session: u64, lines: &[u8], checkpoint: Option<Checkpoint>) -> Result<(), PublishError> {
        let mut guard = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.session.check(session)?;
        let Some(open) = guard.as_mut().filter(|open| !open.torn) else {
            return Err(PublishError::transient("publish was called before resume"));
        };
        let written = open.write(lines, checkpoint);
        if let Err(error) = written {
            open.torn = true;
            // At once and not only at the next resume: others may need the room. If it fails, that one tells.
            let _ = open.cut();
            open.torn = true;
            return Err(self.transient("writing to", error));
        }
        if !is_at(&open.file, &self.path) {
            *guard = None;
            let problem = io::Error::other("the file was moved or deleted");
            return Err(self.transient("writing to", problem));
        }
        Ok(())
    }

    /// Opens and locks the file, and makes it where there is none.
    fn open(&self, owner: &Owner) -> Result<OpenFile, PublishError> {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path);
        let mut file = opened.map_err(|error| self.refused(error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let problem = io::Error::other("another process holds it");
                return Err(self.transient("locking", problem));
            }
            Err(TryLockError::Error(error)) => return Err(self.transient("locking", error)),
        }
        let head = Head::read(&mut file).map_err(|error| self.unreadable(error))?;
        let Some((head, head_len)) = head else {
            return self.make(file).map_err(|error| self.transient("beginning", error));
        };
        let found = last_checkpoint(&mut file, head_len).map_err(|error| self.unreadable(error))?;
        let (kept, durable_len) = match found {
            Some((kept, end)) => (Some(kept), end),
            None => (None, head_len),
        };
        if let Some(kept) = &kept {
            owner.check(kept)?;
        }
        // What was found may never have reached the disk.
        file.sync_all().map_err(|error| self.transient("syncing", error))?;
        let len = file.metadata().map_or(durable_len, |metadata| metadata.len());
        let cut_bytes = len.saturating_sub(durable_len);
        info!(target: LOG, path = %self.path.display(), durable_len, cut_bytes, "opened");
        Ok(OpenFile { file, id: head.id(), kept, durable_len, covered: Covered::default(), torn: true })
    }

    fn make(&self, mut file: File) -> io::Result<OpenFile> {
        let head = Head::new();
        let line = head.line();
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        sync_folder(&self.path)?;
        info!(target: LOG, path = %self.path.display(), "made");
        let (id, durable_len) = (head.id(), line.len() as u64);
        Ok(OpenFile { file, id, kept: None, durable_len, covered: Covered::default(), torn: false })
    }

    fn error(&self, doing: &'static str, source: io::Error) -> FileError {
        FileError { doing, path: self.path.display().to_string(), source }
    }

    fn transient(&self, doing: &'static str, source: io::Error) -> PublishError {
        PublishError::transient(self.error(doing, source))
    }

    /// What the operating system refuses for good, it refuses when the file is opened.
    fn refused(&self, error: io::Error) -> PublishError {
        use io::ErrorKind::{
            InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem,
        };
        let path = self.path.display();
        let what = match error.kind() {
            NotFound | NotADirectory => format!("the folder of {path} doesn't exist: make it, or give another file"),
            PermissionDenied | ReadOnlyFilesystem => {
                format!("{path} can't be written to: give this user the right to, or give another file")
            }
            IsADirectory | InvalidInput => format!("{path} is not a file: give a file"),
            _ => return self.transient("opening", error),
        };
        PublishError::Fatal { what, source: Some(error.into()) }
    }

    fn unreadable(&self, error: ScanError) -> PublishError {
        match error {
            ScanError::Io(error) => self.transient("reading", error),
            error => PublishError::fatal(format!("{} can't be used: {error}", self.path.display())),
        }
    }
}

impl OpenFile {
    fn write(&mut self, lines: &[u8], checkpoint: Option<Checkpoint>) -> io::Result<()> {
        self.covered.add(lines);
        self.file.write_all(lines)?;
        let Some(checkpoint) = checkpoint else {
            return Ok(());
        };
        let line = std::mem::take(&mut self.covered).line(&checkpoint)?;
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()?;
        self.durable_len = self.file.stream_position()?;
        self.kept = Some(checkpoint);
        Ok(())
    }

    /// Back to the last checkpoint. Never by looking for it again: after a failed sync it may be
    /// found in memory and not be on the disk.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.durable_len)?;
        self.file.seek(SeekFrom::Start(self.durable_len))?;
        self.covered = Covered::default();
        self.torn = false;
        Ok(())
    }
}

/// Who asks for the file.
#[derive(Debug)]
struct Owner {
    feed: FeedName,
    source: SourceIdentity,
    checkpoint: Option<Checkpoint>,
}

impl Owner {
    fn of(request: &Resume<'_>) -> Self {
        let checkpoint = request.checkpoint().cloned();
        Self { feed: request.feed().clone(), source: request.source().clone(), checkpoint }
    }

    fn check(&self, kept: &Checkpoint) -> Result<(), PublishError> {
        Ok(Resume::new(&self.feed, &self.source, self.checkpoint.as_ref(), &[]).check(kept)?)
    }
}

/// Makes the name of a new file durable: its folder holds it.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if cfg!(unix) { File::open(folder.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
}

/// Whether this is (still) the file at a path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), path.metadata()) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// An open file can't be moved away or deleted here.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}
