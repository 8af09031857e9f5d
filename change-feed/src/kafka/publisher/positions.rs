//! The topic that holds a feed's position.
//!
//! It has one partition and is compacted; its records have the feed's name as their key and the
//! JSON of a [`Checkpoint`](crate::feed::checkpoint::Checkpoint) as their value. The newest committed record counts.
//! A record without a value says that the feed has no position yet. The header `feed_relay` names
//! the relay that wrote the record: a relay that starts writes the position again, and so claims the feed.
//!
//! Kafka answers a commit before its markers are in the partitions: for a moment, or for seconds on a
//! busy cluster, `read_committed` readers don't see a record whose commit was confirmed long ago.

use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::feed::envelope::header::name;
use crate::feed::identity::FeedName;
use crate::kafka::client_log::ClientLog;
use crate::kafka::cluster::Cluster;
use crate::kafka::cluster_settings::{ClusterSettings, Isolation};
use crate::kafka::deadline::{Deadline, retire, within};
use crate::kafka::failure::Failure;

/// The only partition.
pub(super) const PARTITION: i32 = 0;

/// The call that failed, in its error.
const DOING: &str = "read the feed's position";
/// How many offsets are read at first. Transaction markers and aborted records take offsets too.
const FIRST_SPAN: i64 = 16;
/// How many times more are read each time that no position is among them.
const SPAN_GROWTH: i64 = 16;
/// How long a broker may not know an existing topic, or that it leads its partition: the topic has just been made, or the
/// broker has just started.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(5);
/// The pause between two looks at an open transaction.
const UNDECIDED_POLL: Duration = Duration::from_millis(10);
/// The longest wait for one record.
const POLL: Duration = Duration::from_millis(100);

/// The topic of a feed's position.
#[derive(Debug, Clone)]
pub(super) struct PositionTopic {
    pub(super) name: String,
    pub(super) key: String,
}

/// How a read treats the records of transactions that are open when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undecided {
    /// They count as if they were committed, for a look before the fence that can't wait: an active relay has a transaction
    /// open nearly all the time. Their commit may have been confirmed, and all are of relays that have had the feed.
    Counts,
    /// Waits until each of them is committed or aborted.
    AwaitsItsEnd,
}

/// The newest record of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) offset: i64,
    pub(super) value: Option<Vec<u8>>,
    pub(super) relay: Option<String>,
}

impl PositionTopic {
    pub(super) fn of(feed: &FeedName) -> Self {
        Self { name: format!("{feed}.positions"), key: feed.as_str().to_owned() }
    }

    /// The newest record, committed or undecided.
    pub(super) async fn newest(
        &self,
        cluster: &Cluster,
        settings: &ClusterSettings,
        undecided: Undecided,
        deadline: Deadline,
    ) -> Result<Option<Kept>, Failure> {
        let (topic, settings, probe) = (self.clone(), settings.clone(), cluster.probe().clone());
        within(deadline, DOING, move |deadline| {
            let (committed, decided_until) = with_reader(&settings, Isolation::Committed, |reader| {
                let undecided_until = match undecided {
                    Undecided::Counts => 0,
                    Undecided::AwaitsItsEnd => topic.ends(&probe, deadline)?.1,
                };
                let (start, end) = topic.decided_range(reader, undecided_until, deadline)?;
                Ok((topic.newest_before(reader, start, end, deadline)?, end))
            })?;
            let end = topic.ends(&probe, deadline)?.1;
            if undecided == Undecided::AwaitsItsEnd || end <= decided_until {
                return Ok(committed);
            }
            let open = with_reader(&settings, Isolation::Uncommitted, |reader| {
                topic.newest_between(reader, decided_until, end, deadline)
            })?;
            Ok(open.or(committed))
        })
        .await?
    }

    /// The newest record of the feed with an offset in `start..end`, looked for from the end.
    fn newest_before(
        &self,
        reader: &BaseConsumer<ClientLog>,
        start: i64,
        end: i64,
        deadline: Deadline,
    ) -> Result<Option<Kept>, Failure> {
        let (mut known_from, mut span) = (end, FIRST_SPAN);
        while known_from > start {
            let from = end.saturating_sub(span).max(start);
            if let Some(kept) = self.newest_between(reader, from, known_from, deadline)? {
                return Ok(Some(kept));
            }
            known_from = from;
            span = span.saturating_mul(SPAN_GROWTH);
        }
        Ok(None)
    }

    /// The offsets of the partition that are decided, once those below `undecided_until` are.
    ///
    /// To a `read_committed` client the end is the last stable offset, to any other the high
    /// watermark: between the two are the records of transactions that are still open.
    fn decided_range(
        &self,
        reader: &BaseConsumer<ClientLog>,
        undecided_until: i64,
        deadline: Deadline,
    ) -> Result<(i64, i64), Failure> {
        let mut is_open = false;
        loop {
            let (start, last_stable) = match self.ends(reader, deadline) {
                // What was seen before tells more than that the last look came too late.
                Err(_) if is_open && deadline.has_passed() => return Err(self.undecided()),
                ends => ends?,
            };
            if last_stable >= undecided_until {
                return Ok((start, last_stable));
            }
            is_open = true;
            if deadline.has_passed() {
                return Err(self.undecided());
            }
            std::thread::sleep(UNDECIDED_POLL);
        }
    }

    fn undecided(&self) -> Failure {
        let detail = format!(
            "a transaction is open in the topic {:?} and hides what follows it; if it stays open for longer than the \
             transaction timeout, look for it with kafka-transactions.sh find-hanging",
            self.name
        );
        Failure::of(DOING, RDKafkaErrorCode::OperationTimedOut, detail)
    }

    fn ends(&self, client: &BaseConsumer<ClientLog>, deadline: Deadline) -> Result<(i64, i64), Failure> {
        let patience = deadline.at_most(UNKNOWN_LIMIT);
        loop {
            match client.fetch_watermarks(&self.name, PARTITION, deadline.remaining()) {
                Err(error) if is_unknown(&error) && !patience.has_passed() => {
                    std::thread::sleep(UNDECIDED_POLL);
                    // librdkafka remembers that there is no such partition until it is made to ask again.
                    let _: KafkaResult<_> = client.fetch_metadata(Some(&self.name), patience.remaining());
                }
                answer => return answer.map_err(|error| Failure::new("query where the positions end", &error)),
            }
        }
    }

    /// The newest record of the feed with an offset in `from..to`.
    fn newest_between(
        &self,
        reader: &BaseConsumer<ClientLog>,
        from: i64,
        to: i64,
        deadline: Deadline,
    ) -> Result<Option<Kept>, Failure> {
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(&self.name, PARTITION, Offset::Offset(from))
            .and_then(|()| reader.assign(&assignment))
            .map_err(|error| Failure::new(DOING, &error))?;
        let mut newest = None;
        while !deadline.has_passed() {
            match reader.poll(POLL.min(deadline.remaining())) {
                None => {}
                Some(Ok(message)) if message.offset() >= to => return Ok(newest),
                Some(Ok(message)) => newest = self.kept(&message).or(newest),
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(newest),
                // The reader joins no group: it needs no right on one.
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {}
                Some(Err(KafkaError::MessageConsumption(code))) if is_passing(code) => {}
                Some(Err(error)) => return Err(Failure::new(DOING, &error)),
            }
        }
        Err(Failure::of(DOING, RDKafkaErrorCode::OperationTimedOut, "the broker gave no records in time"))
    }

    fn kept(&self, message: &BorrowedMessage<'_>) -> Option<Kept> {
        if message.key() != Some(self.key.as_bytes()) {
            return None;
        }
        let mut headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let relay = headers.find(|header| header.key == name::RELAY).and_then(|header| header.value);
        Some(Kept {
            offset: message.offset(),
            value: message.payload().map(<[u8]>::to_vec),
            relay: relay.map(|relay| String::from_utf8_lossy(relay).into_owned()),
        })
    }
}

/// Runs a query with a consumer that lives for this query alone.
fn with_reader<T>(
    settings: &ClusterSettings,
    isolation: Isolation,
    query: impl FnOnce(&BaseConsumer<ClientLog>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let config = settings.reader(isolation);
    let reader: BaseConsumer<ClientLog> = BaseConsumer::from_config_and_context(&config, ClientLog::new("positions"))
        .map_err(|error| Failure::new(DOING, &error))?;
    let answer = query(&reader).map_err(|failure| failure.explained_by(reader.context()));
    reader.context().hush();
    retire(reader);
    answer
}

fn is_unknown(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let unknown = [
        Code::UnknownPartition,
        Code::UnknownTopic,
        Code::UnknownTopicOrPartition,
        Code::LeaderNotAvailable,
        // It hears of a new partition later than the broker that told of it.
        Code::NotLeaderForPartition,
    ];
    error.rdkafka_error_code().is_some_and(|code| unknown.contains(&code))
}

/// Errors that a consumer reports while it goes on trying.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::NotLeaderForPartition
            | RDKafkaErrorCode::LeaderNotAvailable
    )
}
