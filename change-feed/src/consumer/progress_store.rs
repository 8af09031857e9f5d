//! The seam to where a consumer keeps its progress.

use std::error::Error;

use async_trait::async_trait;

use super::admission::{Admission, FirstVersion, Taken};
use super::event::ReceivedEvent;

/// Keeps how far a consumer has come: the last event that it took of each key, by partition.
///
/// [`Progress`](super::Progress) keeps it in memory. A projection keeps it in its own database, in rows (partition, key,
/// epoch, version) that it writes in the transaction of the effect; its store is then a cache of those rows.
///
/// # Contract
///
/// - **Calls**: for each event [`load`](Self::load), then [`last`](Self::last), then the effect, and
///   [`take`](Self::take) only once the effect is committed. An event that is not taken is loaded and looked up again.
/// - **Nothing is taken early** (L): a store never says of an event that it was taken before its effect is committed.
///   An effect that failed leaves the store as it was.
/// - **Twice** (D): where the effect is committed and the process ends before `take`, `load` finds the committed row, and
///   the event is a duplicate. So it is where the answer to a commit was lost, if the consumer has the store
///   [`forget`](Self::forget) the partition.
/// - **Two consumers** of one partition: a consumer that lost the partition and does not know it yet (a zombie) has a
///   cache that is out of date. The database decides: the effect's transaction changes the row only if it still holds the
///   `after` of [`Received`](crate::consumer::Received), and is rolled back if it does not.
/// - **Partitions**: `forget` drops what is held of a partition. After it comes back, `load` reads anew, since another
///   consumer may have gone on meanwhile.
/// - **Feeds**: several feeds may share a topic, each with versions and epochs of its own: a store tells their keys apart.
/// - **Cancellation**: dropping the future of `load` leaves the store usable.
#[async_trait]
pub trait ProgressStore: Send {
    /// Reads what is stored of these keys, so that [`last`](Self::last) knows it. A store in memory has nothing to do.
    async fn load(&mut self, keys: &[ProgressKey<'_>]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let _ = keys;
        Ok(())
    }

    /// The last event that was taken of a key that is loaded.
    fn last(&self, key: &ProgressKey<'_>) -> Option<Taken>;

    /// Notes an event whose effect is committed. An older event than the last one changes nothing.
    fn take(&mut self, key: &ProgressKey<'_>, taken: Taken);

    /// Drops what is held in memory of a partition.
    fn forget(&mut self, partition: u32);

    /// The first event that is expected of a key that the store does not know.
    fn first_version(&self) -> FirstVersion {
        FirstVersion::One
    }
}

/// A key of a partition, whose events are in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct ProgressKey<'a> {
    /// The partition.
    pub partition: u32,
    /// The feed's name.
    pub feed: &'a str,
    /// The aggregate's id as text.
    pub key: &'a str,
}

impl<'a> From<&'a ReceivedEvent> for ProgressKey<'a> {
    fn from(event: &'a ReceivedEvent) -> Self {
        Self { partition: event.partition(), feed: event.feed().as_str(), key: event.key() }
    }
}

/// An event and what it is to its consumer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Received {
    /// The event.
    pub event: ReceivedEvent,
    /// Whether it is new, repeated, or comes after a gap.
    pub admission: Admission,
    /// The last event of the key before it: what the progress row must still hold when the effect is committed.
    pub after: Option<Taken>,
}

impl Received {
    /// Classifies an event by the last one of its key.
    pub fn new(event: ReceivedEvent, after: Option<Taken>, first: FirstVersion) -> Self {
        let admission = Admission::of(&event, after, first);
        Self { event, admission, after }
    }
}
