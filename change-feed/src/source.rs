//! Where changes come from: the seam to a database.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::{Epoch, SourceIdentity};
use crate::feed::mismatch::Mismatch;
use crate::feed::part::Changes;
use crate::feed::position::Position;

/// Captures committed changes.
///
/// # Contract
///
/// - **Calls**: [`elect`](Source::elect), then [`start`](Source::start), then
///   [`next`](Source::next) again and again, with [`acknowledge`](Source::acknowledge) at any time
///   after `elect`, also while a `next` is under way. One caller at a time for each of them.
///   After an error every one of them may be called again, from `elect` on.
/// - **Order**: the changes of one key come in the order of their versions; a run that starts at a
///   position gives what follows it, nothing at or before it (O). The position of a change is
///   after the previous complete end, and at or before the next one.
/// - **No loss, no phantom**: what committed is given once per run, and nothing else, however long
///   its transaction was open and whatever number it drew (L, P).
/// - **Ends**: every [`Changes`] that is complete ends at a position that `start` takes, also after
///   a crash or restart of the relay *or of the database*, and in another process: what a crash of
///   the database may take back is not given. A source may give a large transaction in pieces
///   ([`End::Continues`](crate::feed::part::End::Continues)); it never waits for more before it gives what completes one.
/// - **Idle**: a run without changes only says that the position moved, at most once a second, and
///   never because of an acknowledgement. The relay publishes it before it acknowledges it.
/// - **Bounds**: memory does not grow with the backlog or with a transaction. Every call but `elect` and
///   `next` ends, with an error if it must: a watchdog belongs to the source.
/// - **Cancellation**: dropping the future of any call loses nothing; the next call goes on.
#[async_trait]
pub trait Source: Send + Sync {
    /// Waits until this is the one active relay of the feed at this source, and says which
    /// database this is and what is stored of the feed in it.
    ///
    /// Returns at once when the election is already won and still held. Losing it later makes
    /// every other call fail with [`SourceError::Transient`].
    async fn elect(&self) -> Result<Elected, SourceError>;

    /// Starts after a position, or starts again there: the rewind.
    ///
    /// Fails closed ([`SourceError::Closed`]) where it can see that it would not give everything
    /// after the position, or that the position is of another history than this database's: it is
    /// past the end, or another event stands where the last one stood. What the implementation
    /// can't see, it documents.
    ///
    /// Where a [baseline is wanted](Start::wants_baseline) it gives one of every key first, in
    /// [chunks](Position::chunk), and the changes after it. A position inside of the baseline resumes it.
    async fn start(&self, start: &Start<'_>) -> Result<(), SourceError>;

    /// Waits for changes, and gives the next ones. Never empty unless the position moved.
    async fn next(&self) -> Result<Changes, SourceError>;

    /// Stores in the source's database that everything through the checkpoint's position is
    /// durable at the publisher, and whose position that is. Idempotent; a checkpoint that
    /// [is older](Checkpoint::is_older_than) is ignored; at an equal one the identity is stored anew.
    /// A recorded [rejoin](Elected::rejoining) is over once the end of its baseline is acknowledged.
    async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError>;

    /// How much of what committed is not acknowledged yet, for metrics; `None` where the source can't tell, or can't
    /// reach its database. May be called at any time, and disturbs neither the election nor a `next` that waits.
    async fn lag(&self) -> Option<Lag> {
        None
    }

    /// Gives the election up, so that a standby takes over. The relay calls it on every way out;
    /// a process that dies, or is silent for a time that the implementation documents, loses the
    /// election as well.
    async fn release(&self) {}
}

/// What an election found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elected {
    /// Which database this is, and what the feed captures there.
    pub identity: SourceIdentity,
    /// What was last acknowledged for the feed; `None` if the feed is new here.
    pub checkpoint: Option<Checkpoint>,
    /// Whether this call has won the election; false where it was won before and has been held since.
    pub is_new: bool,
    /// The epoch of a rejoin that is recorded and whose baseline is not published yet; see [`Elected::rejoining`].
    pub wanted_epoch: Option<Epoch>,
}

impl Elected {
    /// Newly elected at this source, with what it stores of the feed.
    pub fn new(identity: SourceIdentity, checkpoint: Option<Checkpoint>) -> Self {
        Self { identity, checkpoint, is_new: true, wanted_epoch: None }
    }

    /// The same, of an election that was won before and has been held since.
    #[must_use]
    pub fn still_held(self) -> Self {
        Self { is_new: false, ..self }
    }

    /// The same, while a rejoin is recorded at the source.
    ///
    /// An operator has it recorded, in the database, after a mismatch: the feed goes on in this epoch, which is higher
    /// than every earlier one, from the position that the source stores, and with a baseline of every key. The source
    /// says so at each election until the end of the baseline is acknowledged: whatever crashes before, the next relay
    /// resumes the rejoin.
    #[must_use]
    pub fn rejoining(self, epoch: Epoch) -> Self {
        Self { wanted_epoch: Some(epoch), ..self }
    }
}

/// Where a source starts.
///
/// ```
/// use change_feed::source::Start;
/// use change_feed::{Epoch, Position};
///
/// let start = Start::after(&Position::ORIGIN, Epoch::FIRST);
/// assert!(!start.wants_baseline());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start<'a> {
    position: &'a Position,
    epoch: Epoch,
    wants_baseline: bool,
}

impl<'a> Start<'a> {
    /// After this position, in this epoch of the feed.
    pub fn after(position: &'a Position, epoch: Epoch) -> Self {
        Self { position, epoch, wants_baseline: false }
    }

    /// With a baseline of every key before the changes.
    #[must_use]
    pub fn with_baseline(self) -> Self {
        Self { wants_baseline: true, ..self }
    }

    /// Everything after it is given.
    pub fn position(&self) -> &'a Position {
        self.position
    }

    /// The position alone, for a source that gives no baselines.
    ///
    /// # Errors
    ///
    /// [`SourceError::Fatal`] where one is wanted.
    pub fn position_without_baseline(&self) -> Result<&'a Position, SourceError> {
        if self.wants_baseline {
            let remedy =
                "run a version of change-feed that gives it, or start a feed under a new name with a new topic";
            return Err(SourceError::fatal("a rejoin is recorded, and this source can't give its baseline", remedy));
        }
        Ok(self.position)
    }

    /// The feed's epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether a baseline of every key comes before the changes.
    pub fn wants_baseline(&self) -> bool {
        self.wants_baseline
    }
}

/// How much of what committed is not acknowledged yet, as far as a source can tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// The bytes of the database's log.
    pub bytes: Option<u64>,
    /// The number of changes.
    pub changes: Option<u64>,
    /// How long ago the oldest of them committed.
    pub time: Option<Duration>,
}

impl Lag {
    /// Told in bytes of the database's log.
    pub fn of_bytes(bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..Self::default() }
    }

    /// Told in changes.
    pub fn of_changes(changes: u64) -> Self {
        Self { changes: Some(changes), ..Self::default() }
    }

    /// With the time since the oldest of them committed.
    #[must_use]
    pub fn since(self, time: Duration) -> Self {
        Self { time: Some(time), ..self }
    }
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<S: Source + ?Sized> Source for $pointer<S> {
            async fn elect(&self) -> Result<Elected, SourceError> {
                (**self).elect().await
            }

            async fn start(&self, start: &Start<'_>) -> Result<(), SourceError> {
                (**self).start(start).await
            }

            async fn next(&self) -> Result<Changes, SourceError> {
                (**self).next().await
            }

            async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError> {
                (**self).acknowledge(checkpoint).await
            }

            async fn lag(&self) -> Option<Lag> {
                (**self).lag().await
            }

            async fn release(&self) {
                (**self).release().await;
            }
        }
    };
}

forward!(Arc);
forward!(Box);

/// Why a source can't go on, by what the caller does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Again, from the election on: the database is away, or the election was lost.
    #[error("the source is not available at present; nothing is lost, the relay tries again")]
    Transient(#[source] Box<dyn Error + Send + Sync>),
    /// The stored position and this source don't belong together.
    #[error("the feed can't go on from its position")]
    Closed(#[from] Mismatch),
    /// Stop: trying again changes nothing before somebody changes the set-up.
    #[error("{what}; {remedy}")]
    Fatal {
        /// What is wrong.
        what: String,
        /// What to do about it.
        remedy: String,
        /// What the database said, where it said something.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl SourceError {
    /// Again, from the election on.
    pub fn transient(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Transient(source.into())
    }

    /// Stop, and say what to do.
    pub fn fatal(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Fatal { what: what.into(), remedy: remedy.into(), source: None }
    }
}
