//! Who a feed is, and how it notices that something under it is no longer what it was.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::mismatch::{Mismatch, Side};

/// The name of a feed: it names the slot, the transactional id, the position topic and the metrics.
///
/// 1 to 48 characters: lower-case ASCII letters, digits and `_`, a letter first. That is what
/// PostgreSQL takes for a slot, Kafka for a topic and Prometheus for a label, without quoting.
/// Cloning is cheap: each record bears it.
///
/// ```
/// use change_feed::FeedName;
///
/// assert_eq!(FeedName::new("orders")?.as_str(), "orders");
/// assert!(FeedName::new("Orders; drop table").is_err());
/// # Ok::<(), change_feed::InvalidFeedName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FeedName(Arc<str>);

impl FeedName {
    /// The longest name, in bytes.
    pub const MAX_LEN_BYTES: usize = 48;

    /// Checks a name.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidFeedName> {
        let name = name.into();
        let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase());
        let rest_is_plain = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if starts_well && rest_is_plain && name.len() <= Self::MAX_LEN_BYTES {
            Ok(Self(Arc::from(name)))
        } else {
            Err(InvalidFeedName { name: name.chars().take(80).collect() })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FeedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FeedName {
    type Err = InvalidFeedName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for FeedName {
    type Error = InvalidFeedName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<FeedName> for String {
    fn from(name: FeedName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// A text that can't name a feed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} can't name a feed: use 1 to 48 lower-case letters, digits and underscores, a letter first")]
pub struct InvalidFeedName {
    name: String,
}

/// How often a feed has been re-established: positions of different epochs can't be compared.
///
/// The first epoch is 1. Only a rejoin raises it, together with a baseline of every key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u32);

impl Epoch {
    /// The epoch of a new feed.
    pub const FIRST: Epoch = Epoch(1);

    /// The epoch with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number of the epoch.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a feed captures from, as far as it can be told from another of the same kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceIdentity {
    /// The kind of source: `sqlite`, `postgres-poll`, `postgres-logical` …
    pub kind: String,
    /// What tells this database from every other, a copy from its original where that can be told.
    pub system: String,
    /// What is captured there: the outbox table, schema-qualified.
    pub captures: String,
}

impl SourceIdentity {
    /// The identity of a source of this kind, on this database, of this table.
    pub fn new(kind: impl Into<String>, system: impl Into<String>, captures: impl Into<String>) -> Self {
        Self { kind: kind.into(), system: system.into(), captures: captures.into() }
    }
}

/// What a feed publishes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PublisherIdentity {
    /// The kind of publisher and how it delivers: `kafka-transactional`, `ndjson`, `memory` …
    pub kind: String,
    /// What tells this broker cluster, or this file, from every other.
    pub cluster: String,
    /// The number of partitions of each topic that the feed writes to. Empty where there are none.
    pub topics: BTreeMap<String, Topic>,
}

impl PublisherIdentity {
    /// The identity of a publisher of this kind, to this cluster, without topics.
    pub fn new(kind: impl Into<String>, cluster: impl Into<String>) -> Self {
        Self { kind: kind.into(), cluster: cluster.into(), topics: BTreeMap::new() }
    }

    /// With a topic that the feed writes to.
    #[must_use]
    pub fn with_topic(mut self, name: impl Into<String>, topic: Topic) -> Self {
        self.topics.insert(name.into(), topic);
        self
    }
}

/// A topic as the feed first saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Topic {
    /// Its number of partitions: a key's partition depends on it.
    pub partitions: u32,
    /// The broker's own id of the topic, where it gives one: a topic that was deleted and created
    /// again has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Topic {
    /// A topic with this number of partitions, and the broker's id of it where there is one.
    pub fn new(partitions: u32, id: Option<String>) -> Self {
        Self { partitions, id }
    }
}

/// Everything that must stay the same while a feed's position means anything.
///
/// It is kept in the source's database *and* with the position at the publisher, and compared at
/// every start. See [`FeedIdentity::check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FeedIdentity {
    /// The feed's name.
    pub feed: FeedName,
    /// The feed's epoch.
    pub epoch: Epoch,
    /// What it captures from.
    pub source: SourceIdentity,
    /// What it publishes to.
    pub publisher: PublisherIdentity,
}

impl FeedIdentity {
    /// The identity of a feed.
    pub fn new(feed: FeedName, epoch: Epoch, source: SourceIdentity, publisher: PublisherIdentity) -> Self {
        Self { feed, epoch, source, publisher }
    }

    /// Compares what is found at a start with what was stored by one of the two sides, and gives
    /// the identity to store from now on.
    ///
    /// Topics that are found and were not stored are new routes, and no mismatch. Topics that were
    /// stored and are not found stay in the identity: a route that comes back is compared then.
    pub fn check(self, stored: &FeedIdentity, kept_by: Side) -> Result<FeedIdentity, Mismatch> {
        self.check_parts(stored, kept_by)?;
        self.check_topics(stored)?;
        Ok(self.with_topics_of(stored))
    }

    /// The same, while a [rejoin](crate::source::Elected::rejoining) is recorded: this identity is in its epoch, and
    /// replaces what was stored in an earlier one, of which the feed's name alone must be the same. What was stored in
    /// the rejoin's own epoch is compared whole, so that a copy of the database can't take over the feed.
    pub(crate) fn check_while(
        self,
        rejoin: Option<Epoch>,
        stored: &FeedIdentity,
        kept_by: Side,
    ) -> Result<FeedIdentity, Mismatch> {
        if rejoin == Some(self.epoch) && stored.epoch < self.epoch && stored.feed == self.feed {
            return Ok(self);
        }
        self.check(stored, kept_by)
    }

    fn with_topics_of(mut self, stored: &FeedIdentity) -> Self {
        for (name, before) in &stored.publisher.topics {
            let topic = self.publisher.topics.entry(name.clone()).or_insert_with(|| before.clone());
            if topic.id.is_none() {
                topic.id.clone_from(&before.id);
            }
        }
        self
    }

    fn check_parts(&self, stored: &FeedIdentity, kept_by: Side) -> Result<(), Mismatch> {
        let differs = |what, stored: &dyn fmt::Display, found: &dyn fmt::Display| {
            Err(Mismatch::Differs { what, kept_by, stored: stored.to_string(), found: found.to_string() })
        };
        if stored.feed != self.feed {
            return differs("feed name", &stored.feed, &self.feed);
        }
        if stored.epoch != self.epoch {
            return differs("epoch", &stored.epoch, &self.epoch);
        }
        if stored.source.kind != self.source.kind {
            return differs("kind of source", &stored.source.kind, &self.source.kind);
        }
        if stored.source.system != self.source.system {
            return differs("database", &stored.source.system, &self.source.system);
        }
        if stored.source.captures != self.source.captures {
            return differs("captured table", &stored.source.captures, &self.source.captures);
        }
        if stored.publisher.kind != self.publisher.kind {
            return differs("kind of publisher", &stored.publisher.kind, &self.publisher.kind);
        }
        if stored.publisher.cluster != self.publisher.cluster {
            return differs("cluster", &stored.publisher.cluster, &self.publisher.cluster);
        }
        Ok(())
    }

    fn check_topics(&self, stored: &FeedIdentity) -> Result<(), Mismatch> {
        for (name, before) in &stored.publisher.topics {
            let Some(now) = self.publisher.topics.get(name) else {
                continue;
            };
            if before.partitions != now.partitions {
                let (stored, found) = (before.partitions, now.partitions);
                return Err(Mismatch::Repartitioned { topic: name.clone(), stored, found });
            }
            if let (Some(before), Some(now)) = (&before.id, &now.id)
                && before != now
            {
                return Err(Mismatch::TopicRecreated { topic: name.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An identity for tests of other modules, too.
    pub(crate) fn identity() -> FeedIdentity {
        let topic = Topic { partitions: 12, id: Some("a".to_owned()) };
        FeedIdentity {
            feed: FeedName::new("orders").expect("a valid name"),
            epoch: Epoch::FIRST,
            source: SourceIdentity {
                kind: "sqlite".to_owned(),
                system: "one".to_owned(),
                captures: "order_events".to_owned(),
            },
            publisher: PublisherIdentity {
                kind: "kafka".to_owned(),
                cluster: "staging".to_owned(),
                topics: BTreeMap::from([("orders.events".to_owned(), topic)]),
            },
        }
    }

    #[test]
    fn an_identity_matches_itself_and_one_with_more_topics() {
        let stored = identity();
        let mut found = identity();
        found.publisher.topics.insert("new".to_owned(), Topic { partitions: 1, id: None });
        assert_eq!(stored.clone().check(&stored, Side::Source), Ok(stored.clone()));
        assert_eq!(found.clone().check(&stored, Side::Source), Ok(found));
    }

    #[test]
    fn each_part_that_differs_is_a_mismatch_that_names_it() {
        type Alter = fn(&mut FeedIdentity);
        let changes: [(&str, Alter); 9] = [
            ("feed name", |i| i.feed = FeedName::new("other").expect("a valid name")),
            ("epoch", |i| i.epoch = Epoch::new(2)),
            ("kind of source", |i| i.source.kind.push('x')),
            ("database", |i| i.source.system.push('x')),
            ("captured table", |i| i.source.captures.push('x')),
            ("kind of publisher", |i| i.publisher.kind.push('x')),
            ("cluster", |i| i.publisher.cluster.push('x')),
            ("partitions", |i| i.publisher.topics.values_mut().for_each(|t| t.partitions += 1)),
            ("created again", |i| i.publisher.topics.values_mut().for_each(|t| t.id = Some("b".to_owned()))),
        ];
        for (name, change) in changes {
            let mut found = identity();
            change(&mut found);
            let mismatch = found.check(&identity(), Side::Publisher).expect_err(name);
            assert!(mismatch.to_string().contains(name), "{mismatch}");
            assert!(!mismatch.remedy().is_empty());
        }
    }

    #[test]
    fn a_route_that_was_away_is_compared_when_it_comes_back() {
        let mut without = identity();
        without.publisher.topics.clear();
        let kept = without.check(&identity(), Side::Source).expect("no mismatch");
        let mut back = identity();
        back.publisher.topics.values_mut().for_each(|topic| topic.partitions = 6);
        assert!(matches!(back.check(&kept, Side::Source), Err(Mismatch::Repartitioned { .. })));
    }
}
