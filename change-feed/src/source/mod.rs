//! Where changes come from: the seam to a database.

mod error;
mod memory;

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Changes, Checkpoint, Position, SourceIdentity};

pub use error::SourceError;
pub use memory::{MemoryDatabase, MemoryEvent, MemorySource};

/// Captures committed changes.
///
/// # Contract
///
/// - **Calls**: [`elect`](Source::elect), then [`start`](Source::start), then
///   [`next`](Source::next) again and again, with [`acknowledge`](Source::acknowledge) at any time
///   after `elect`, also while a `next` is under way. One caller at a time for each of them.
///   After an error every one of them may be called again, from `elect` on.
/// - **Order**: the changes of one key come in the order of their versions; a run that starts at a
///   position gives what follows it, nothing at or before it (O).
/// - **No loss, no phantom**: what committed is given once per run, and nothing else, however long
///   its transaction was open and whatever number it drew (L, P).
/// - **Ends**: every [`Changes`] that is complete ends at a position that `start` takes, also after
///   a crash, a restart and in another process. A source may give a large transaction in pieces
///   ([`End::Continues`](crate::End::Continues)); it never waits for more before it gives what completes one.
/// - **Bounds**: memory does not grow with the backlog or with a transaction.
/// - **Cancellation**: dropping the future of any call loses nothing; the next call goes on.
#[async_trait]
pub trait Source: Send + Sync {
    /// Waits until this is the one active relay of the feed at this source, and says which
    /// database this is and what is stored of the feed in it.
    ///
    /// Returns at once when the election is already won and still held. Losing it later makes
    /// every other call fail with [`SourceError::Transient`].
    async fn elect(&self) -> Result<Elected, SourceError>;

    /// Starts after `position`, or starts again there: the rewind.
    ///
    /// Fails closed ([`SourceError::Closed`]) where it can't prove that it gives everything after
    /// `position` and that `position` is of this database's history.
    async fn start(&self, after: &Position) -> Result<(), SourceError>;

    /// Waits for changes, and gives the next ones. Never empty unless the position moved.
    async fn next(&self) -> Result<Changes, SourceError>;

    /// Stores in the source's database that everything through the checkpoint's position is
    /// durable at the publisher, and whose position that is. Idempotent; never moves backwards:
    /// an older position is ignored.
    async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError>;
}

/// What an election found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elected {
    /// Which database this is, and what the feed captures there.
    pub identity: SourceIdentity,
    /// What was last acknowledged for the feed; `None` if the feed is new here.
    pub checkpoint: Option<Checkpoint>,
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<S: Source + ?Sized> Source for $pointer<S> {
            async fn elect(&self) -> Result<Elected, SourceError> {
                (**self).elect().await
            }

            async fn start(&self, after: &Position) -> Result<(), SourceError> {
                (**self).start(after).await
            }

            async fn next(&self) -> Result<Changes, SourceError> {
                (**self).next().await
            }

            async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError> {
                (**self).acknowledge(checkpoint).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
