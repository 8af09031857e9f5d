//! What an implementer of a publisher writes for the suite.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::conformance::rule::HarnessError;
use crate::feed::identity::FeedName;
use crate::memory::log::MemoryRecord;
use crate::publisher::Publisher;

/// How the suite makes publishers of one kind, and what it may expect of them.
#[async_trait]
pub trait PublisherHarness: Send + Sync {
    /// What publishers of this kind claim to do.
    fn capabilities(&self) -> Capabilities;

    /// A place to publish to that holds nothing and knows no feed.
    async fn destination(&self) -> Result<Box<dyn Destination>, HarnessError>;
}

/// A place to publish to, and a view of it from outside.
#[async_trait]
pub trait Destination: Send + Sync {
    /// The topic to publish to.
    fn topic(&self) -> Arc<str>;

    /// A new publisher, as another process would make it for this feed.
    async fn publisher(&self, feed: &FeedName) -> Result<Box<dyn Publisher>, HarnessError>;

    /// What a reader sees now that is not shown what is open or aborted: those of each partition
    /// in their order.
    async fn records(&self) -> Result<Vec<SeenRecord>, HarnessError>;

    /// Makes calls fail from now on: before or after they had their effect.
    async fn make_unavailable(&self) -> Result<(), HarnessError> {
        Err("this harness can't make the destination unavailable".into())
    }

    /// Ends what [`make_unavailable`](Self::make_unavailable) began.
    async fn make_available(&self) -> Result<(), HarnessError> {
        Ok(())
    }
}

/// What publishers of one kind claim to do: each claim adds rules.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Capabilities {
    pub(super) keeps_position: bool,
    pub(super) transactional: bool,
    pub(super) fences: bool,
    pub(super) may_show_rejected_parts: bool,
    pub(super) can_be_made_unavailable: bool,
    pub(super) shared_by_feeds: bool,
    pub(super) publishes_rows: bool,
    pub(super) rejected_payload: Option<Bytes>,
    pub(super) call_limit: Duration,
    pub(super) visible_within: Duration,
}

impl Capabilities {
    /// A publisher that delivers at least once and claims nothing else.
    pub fn new() -> Self {
        Self {
            keeps_position: false,
            transactional: false,
            fences: false,
            may_show_rejected_parts: false,
            can_be_made_unavailable: false,
            shared_by_feeds: false,
            publishes_rows: false,
            rejected_payload: None,
            call_limit: Duration::from_secs(60),
            visible_within: Duration::from_secs(20),
        }
    }

    /// It keeps the position together with the records.
    #[must_use]
    pub fn keeps_position(self) -> Self {
        Self { keeps_position: true, ..self }
    }

    /// It shows the parts up to a complete end at once, or not at all.
    #[must_use]
    pub fn transactional(self) -> Self {
        Self { transactional: true, ..self }
    }

    /// `resume` shuts out earlier publishers of the feed.
    #[must_use]
    pub fn fences(self) -> Self {
        Self { fences: true, ..self }
    }

    /// It rejects envelopes with this payload.
    #[must_use]
    pub fn rejects(self, payload: impl Into<Bytes>) -> Self {
        Self { rejected_payload: Some(payload.into()), ..self }
    }

    /// Its documentation says that some of a rejected part may become visible.
    #[must_use]
    pub fn may_show_rejected_parts(self) -> Self {
        Self { may_show_rejected_parts: true, ..self }
    }

    /// The harness has [`Destination::make_unavailable`].
    #[must_use]
    pub fn can_be_made_unavailable(self) -> Self {
        Self { can_be_made_unavailable: true, ..self }
    }

    /// Several feeds may publish to one destination.
    #[must_use]
    pub fn shared_by_feeds(self) -> Self {
        Self { shared_by_feeds: true, ..self }
    }

    /// It publishes rows of tables too, and says that one is gone by a payload that is null.
    #[must_use]
    pub fn publishes_rows(self) -> Self {
        Self { publishes_rows: true, ..self }
    }

    /// How long one call may take before the suite says that it doesn't end; 60 s unless set.
    #[must_use]
    pub fn call_limit(self, call_limit: Duration) -> Self {
        Self { call_limit, ..self }
    }

    /// How long a reader may take to see what is durable before the suite says that it is lost;
    /// 20 s unless set.
    #[must_use]
    pub fn visible_within(self, visible_within: Duration) -> Self {
        Self { visible_within, ..self }
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::new()
    }
}

/// A record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRecord {
    /// The partition; 0 where there are none.
    pub partition: u32,
    /// The key.
    pub key: Vec<u8>,
    /// The headers, or what the destination has in their place.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The payload; `None` is a null.
    pub payload: Option<Vec<u8>>,
}

impl From<&MemoryRecord> for SeenRecord {
    fn from(record: &MemoryRecord) -> Self {
        let headers = record.envelope.headers().into_iter();
        Self {
            partition: record.partition,
            key: record.envelope.key().as_bytes().to_vec(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
            payload: record.envelope.value().map(<[u8]>::to_vec),
        }
    }
}
