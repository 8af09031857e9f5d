//! Publishes to Kafka.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use uuid::Uuid;

use super::closing::Closing;
use super::options::Options;
use super::positions::{PositionTopic, Undecided};
use super::producer_session::ProducerSession;
use crate::feed::part::Part;
use crate::kafka::cluster::Cluster;
use crate::kafka::deadline::Deadline;
use crate::publisher::{PublishError, Publisher};
use crate::publisher::{Resume, Resumed};

/// Publishes to Kafka, through librdkafka.
///
/// # Two modes
///
/// | | [transactional](Self::transactional) | [idempotent](Self::idempotent) |
/// | --- | --- | --- |
/// | readers with `read_committed` see | each change once, all of a database transaction or none | a change again after a crash, with the same event id |
/// | the position is kept | in the topic `<feed>.positions`, in the transaction of the records | by the source alone |
/// | an older relay | is fenced | may publish until it notices |
/// | rights needed | on the transactional id `change-feed.<feed>` and the position's topic, too | WRITE and DESCRIBE on the topics |
///
/// Both give the order of each key (O) and lose nothing that they have acknowledged (L): `acks=all`,
/// idempotent producer. Each record goes to the partition that Kafka's JVM clients choose for its
/// key, by the number of partitions that the topic has at `resume`.
///
/// # Limits
///
/// - A record that is larger than the topic's `max.message.bytes` or the client's `message.max.bytes`
///   is [rejected](PublishError::Rejected) and nothing of its part is visible (idempotent mode: what
///   precedes it may be). Records travel compressed with LZ4 and are measured as they were before; set
///   `compression.type` to choose otherwise, and the broker judges what may fit compressed.
/// - A database transaction must be published within the
///   [transaction timeout](crate::kafka::KafkaPublisherBuilder::transaction_timeout).
/// - The events of one transaction appear to `read_committed` readers partition by partition.
/// - Kafka 4.3.0 and 4.3.1 can forget a transaction that they have committed: where every replica of a
///   partition is down in the moment of the commit (a cluster of one broker that restarts), the coordinator
///   takes the partition for deleted, and readers never see the transaction there or wait for it for ever
///   ([KAFKA-20734]; 4.0 to 4.2 are sound). The feed does not go on over such a gap: `resume` fails, since the
///   publisher has less than the source was acknowledged, or since a transaction stays open. Give each topic more than
///   one replica, or run another release.
///
/// [KAFKA-20734]: https://github.com/apache/kafka/pull/22680
///
/// # Cancellation
///
/// A dropped `publish` or `resume` leaves no producer behind that could still commit once the next
/// `resume` has answered.
///
/// ```no_run
/// use change_feed::{FeedName, KafkaPublisher};
///
/// let publisher = KafkaPublisher::transactional("localhost:9092", &FeedName::new("orders")?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KafkaPublisher {
    pub(super) options: Options,
    pub(super) positions: PositionTopic,
    /// The id of this relay in the records of the position topic.
    pub(super) relay: String,
    /// Whether the feed was this relay's at some time: then nobody else may have claimed it since.
    pub(super) has_claimed: AtomicBool,
    /// Whether the next session sends one record to a batch, to find the one that is refused.
    pub(super) one_by_one: Arc<AtomicBool>,
    pub(super) session: Mutex<Option<ProducerSession>>,
    /// The end of the last session's producer.
    pub(super) closing: Arc<Closing>,
}

impl KafkaPublisher {
    pub(super) fn new(options: Options) -> Self {
        Self {
            positions: PositionTopic::of(&options.feed),
            options,
            relay: Uuid::now_v7().to_string(),
            has_claimed: AtomicBool::new(false),
            one_by_one: Arc::default(),
            session: Mutex::new(None),
            closing: Arc::default(),
        }
    }

    pub(super) fn take_session(&self) -> Option<ProducerSession> {
        // An option is whole at any time: a panic elsewhere can't have left half of it.
        self.session.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn put_session(&self, session: ProducerSession) {
        let mut slot = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(session);
    }

    /// Whether another relay has claimed the feed since this one did.
    async fn is_claimed_by_another(&self, deadline: Deadline) -> Result<bool, PublishError> {
        let cluster = Cluster::connect(&self.options.settings, deadline).await?;
        let newest = self.positions.newest(&cluster, &self.options.settings, Undecided::AwaitsItsEnd, deadline).await?;
        let holder = newest.and_then(|kept| kept.relay);
        Ok(holder.is_some_and(|holder| holder != self.relay))
    }

    /// Kafka says "fenced" in two cases: another relay took over, or the coordinator gave up
    /// a transaction that was open for too long (a frozen process, a stalled disk). Only the first
    /// is the end of this relay.
    async fn classify_fencing(&self) -> PublishError {
        let deadline = Deadline::after(self.options.time_limit);
        match self.is_claimed_by_another(deadline).await {
            Ok(true) => PublishError::Fenced,
            Ok(false) => PublishError::transient(
                "the transaction was open for too long and the cluster aborted it; no other relay took over",
            ),
            // The next `resume` asks again before it fences anybody.
            Err(error) => error,
        }
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError> {
        let deadline = Deadline::after(self.options.time_limit);
        let Some(mut session) = self.take_session() else {
            return Err(PublishError::transient("the publisher has no producer: resume comes first"));
        };
        match session.publish(part, deadline).await {
            Ok(()) => {
                self.put_session(session);
                Ok(())
            }
            Err(PublishError::Fenced) => {
                drop(session);
                Err(self.classify_fencing().await)
            }
            Err(error) => Err(error),
        }
    }

    async fn resume(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
        drop(self.take_session());
        self.closing.wait().await;
        let deadline = Deadline::after(self.options.time_limit);
        match self.start(request, deadline).await {
            Ok((session, resumed)) => {
                self.put_session(session);
                Ok(resumed)
            }
            Err(PublishError::Fenced) if self.has_claimed.load(Ordering::Acquire) && !request.is_newly_elected() => {
                Err(self.classify_fencing().await)
            }
            // It is this relay's turn: the relay that has the feed is older, and is fenced next time.
            Err(PublishError::Fenced) => {
                Err(PublishError::transient("another relay of this feed started at the same time"))
            }
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaPublisher")
            .field("feed", &self.options.feed)
            .field("mode", &self.options.mode)
            .field("settings", &self.options.settings)
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}
