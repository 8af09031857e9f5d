//! Records as lines of JSON: to standard output, or to a file that remembers the feed's position.

mod file;
mod line;
mod scan;
mod stream;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use crate::feed::part::Part;
use crate::publisher::{PublishError, Publisher, Resume, Resumed};
use file::FeedFile;
use stream::Stream;

/// The target of this publisher's log.
const LOG: &str = "change_feed::publisher::ndjson";

/// Writes each record as one line of JSON.
///
/// # A record
///
/// ```json
/// {"topic":"orders.events","key":"0192…","headers":{"ce_id":"…","feed_position":"…"},"payload":{"sku":"milk"}}
/// ```
///
/// `headers` are those of [`Envelope::visit_headers`](crate::feed::envelope::Envelope::visit_headers), all of them
/// text. `payload` is the payload as the database gave it, with line breaks between its tokens
/// turned into spaces; it is `null` in a tombstone, and absent in a withheld stub. (An event whose payload is
/// JSON's `null` has the header `ce_specversion`, and a tombstone has not.) A payload that is not JSON is rejected.
///
/// # A stream
///
/// [`stdout`](NdjsonPublisher::stdout) and [`writer`](NdjsonPublisher::writer) keep no position:
/// after a failure some records come again, with the same event ids, and the rest of a line that
/// was cut is closed with a line break. A record counts as published when it is handed to the
/// operating system: what becomes of it in a pipe is its reader's concern. A reader that is slow
/// makes the feed wait; one that went away stops it.
///
/// # A file
///
/// [`file`](NdjsonPublisher::file) is transactional: at every complete end a checkpoint follows the
/// records, and both are on the disk (`fdatasync`) before the part counts as published.
///
/// ```json
/// {"feed_file":{"format":1,"id":"0192…"}}
/// {"topic":…}
/// {"topic":…}
/// {"checkpoint":{"format":1,"identity":{…},"position":"…"},"bytes":812,"crc32":"9f0c7b1e"}
/// ```
///
/// A reader may trust every line that has a checkpoint after it (`tail -F` shows the others too,
/// and they may be taken back). `bytes` and `crc32` (IEEE, over those bytes and the text of the
/// checkpoint) cover everything since the last checkpoint, so that a write that a crash tore, in
/// whatever order the disk took it, is seen: the feed goes on after the last checkpoint that is
/// whole, and cuts off the rest.
///
/// A file belongs to one feed. One publisher at a time holds it, by a lock of the operating system;
/// any other waits, with a transient error. A full disk is a transient error as well: the file
/// is cut back to its last checkpoint, and goes on when there is room. A file that was moved or
/// deleted while the feed runs closes the feed. The file's id stands in the feed's identity.
///
/// ```no_run
/// use change_feed::ndjson::NdjsonPublisher;
///
/// let publisher = NdjsonPublisher::file("/var/lib/feed/orders.ndjson");
/// # let _ = publisher;
/// ```
#[derive(Debug)]
pub struct NdjsonPublisher {
    output: Output,
}

#[derive(Debug)]
enum Output {
    Stream(Stream),
    File(FeedFile),
}

impl NdjsonPublisher {
    /// To standard output. Nothing else should write there.
    ///
    /// A write that waits for a slow reader can't be cut short: a program that must end meanwhile
    /// ends its runtime with a timeout, or exits.
    pub fn stdout() -> Self {
        Self::writer(io::stdout())
    }

    /// To anything that takes bytes; flushed at the end of every part.
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        Self { output: Output::Stream(Stream::new(Box::new(writer))) }
    }

    /// To this file, which is made when it is missing (its folder is not).
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self { output: Output::File(FeedFile::new(path.as_ref())) }
    }
}

#[async_trait]
impl Publisher for NdjsonPublisher {
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError> {
        let lines = line::render(part.envelopes())?;
        match &self.output {
            Output::Stream(stream) => stream.write(lines).await,
            Output::File(file) => file.write(lines, part.checkpoint()).await,
        }
    }

    async fn resume(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
        match &self.output {
            Output::Stream(stream) => Ok(stream.resume()),
            Output::File(file) => file.resume(request).await,
        }
    }
}

/// Tells calls of the present resumption from those whose callers went away before they began:
/// these must not happen after it.
#[derive(Debug, Clone, Default)]
struct Session(Arc<AtomicU64>);

impl Session {
    fn renew(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn number(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Asked while the lock of the output is held: a resumption that begins later waits for it.
    fn check(&self, number: u64) -> Result<(), PublishError> {
        if self.number() == number { Ok(()) } else { Err(PublishError::transient("the call was abandoned")) }
    }
}

/// Runs on a thread that may block. What has begun there ends even if the caller goes away: those
/// who come after it wait for the lock that it holds.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, PublishError> + Send + 'static,
) -> Result<R, PublishError> {
    spawn_blocking(work).await.map_err(PublishError::transient)?
}
