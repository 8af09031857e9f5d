//! Takes the feed over.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::options::Mode;
use super::positions::{Kept, Undecided};
use super::producer::Batching;
use super::producer_session::{ProducerSession, Transactions};
use super::publisher::KafkaPublisher;
use super::route::{Limits, Route};
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::{PublisherIdentity, Topic};
use crate::feed::mismatch::Mismatch;
use crate::kafka::cluster::{Cluster, TopicLimits};
use crate::kafka::deadline::Deadline;
use crate::kafka::topic_name::check_topic_name;
use crate::publisher::PublishError;
use crate::publisher::{KeptPosition, Resume, Resumed};

/// `message.max.bytes` of librdkafka, unless it is set.
const MESSAGE_MAX_BYTES: usize = 1_000_000;

impl KafkaPublisher {
    /// The order matters: check everything, make the topics, fence, read the position, and only then write anything.
    pub(super) async fn start(
        &self,
        request: &Resume<'_>,
        deadline: Deadline,
    ) -> Result<(ProducerSession, Resumed), PublishError> {
        let names: Vec<String> = request.topics().iter().map(|topic| topic.to_string()).collect();
        for name in &names {
            check_topic_name(name).map_err(|error| PublishError::fatal(error.to_string()))?;
        }
        let mut cluster = Cluster::connect(&self.options.settings, deadline).await?;
        if self.options.mode == Mode::Ephemeral {
            cluster.leave_out_topic_ids();
        } else {
            self.check_missing_topics(&cluster, request, &names, deadline).await?;
        }
        let seen = self.known_checkpoints(&cluster, request, deadline).await?;
        let found = self.existing_topics(&cluster, request, &names, &seen, deadline).await?;
        let limits = match self.options.mode {
            Mode::Ephemeral => BTreeMap::new(),
            Mode::Transactional | Mode::Idempotent => cluster.limits(&self.written_topics(&names), deadline).await?,
        };
        self.check_position_topic(&limits)?;

        let mut session = self.create_session(&limits)?;
        session.set_routes(self.routes(&found, &limits)?);
        let position = match self.options.mode {
            Mode::Transactional => self.take_over(&mut session, &cluster, request, deadline).await?,
            Mode::Idempotent => KeptPosition::Never,
            Mode::Ephemeral => KeptPosition::Ephemeral,
        };
        let mut identity = PublisherIdentity::new(self.options.mode.kind(), cluster.id());
        identity.topics = found;
        tracing::info!(
            target: "change_feed::kafka",
            feed = %self.options.feed,
            cluster = identity.cluster,
            kind = identity.kind,
            "the publisher is ready"
        );
        Ok((session, Resumed::new(identity, position)))
    }

    /// Checks that every missing topic may be made, before any is: a start that fails leaves nothing behind.
    async fn check_missing_topics(
        &self,
        cluster: &Cluster,
        request: &Resume<'_>,
        names: &[String],
        deadline: Deadline,
    ) -> Result<(), PublishError> {
        let written = self.written_topics(names);
        let mut found = cluster.topics(&written, deadline).await?;
        if self.options.create_partitions.is_none() && names.iter().any(|name| !found.contains_key(name)) {
            found.extend(cluster.settled_topics(names, deadline).await?);
        }
        let has_positions = found.contains_key(&self.positions.name);
        let mut new_topics = Vec::new();
        for name in written.into_iter().filter(|name| !found.contains_key(name)) {
            let is_published = |name: &str| {
                request.checkpoint().is_some_and(|known| known.identity.publisher.topics.contains_key(name))
            };
            if name == self.positions.name {
                new_topics.push((name, self.options.position_topic()));
            } else if let Some(plan) = self.options.new_topic(request.is_compacted(&name)) {
                new_topics.push((name, plan));
            } else if !has_positions && !is_published(&name) {
                // Where there are positions, they say whether it was published.
                return Err(missing_topic(&name));
            }
        }
        for (name, plan) in &new_topics {
            cluster.check_new(name, plan, deadline).await?;
        }
        Ok(())
    }

    /// Compares the stored checkpoint with the request before anything is touched, and gives every known checkpoint of
    /// the feed. Makes the position's topic if there is none.
    async fn known_checkpoints(
        &self,
        cluster: &Cluster,
        request: &Resume<'_>,
        deadline: Deadline,
    ) -> Result<Vec<Checkpoint>, PublishError> {
        let mut seen: Vec<Checkpoint> = request.checkpoint().cloned().into_iter().collect();
        if self.options.mode != Mode::Transactional {
            return Ok(seen);
        }
        let name = &self.positions.name;
        let found = cluster.topics(std::slice::from_ref(name), deadline).await?;
        match found.get(name).map(|topic| topic.partitions) {
            // Changes nothing if it is there after all, and the broker has only just started.
            None => cluster.create(name, &self.options.position_topic(), deadline).await?,
            Some(1) => {}
            Some(found) => {
                let topic = name.clone();
                return Err(PublishError::Closed(Mismatch::Repartitioned { topic, stored: 1, found }));
            }
        }
        // It does not wait: an undecided transaction may be this relay's own, which nobody aborts before the fence.
        let kept = self.positions.newest(cluster, &self.options.settings, Undecided::Counts, deadline).await?;
        let holder = kept.as_ref().and_then(|kept| kept.relay.as_ref());
        // To fence is to take over: a relay that was replaced while it was away must not, unless it was elected again.
        let had_it = self.has_claimed.load(Ordering::Acquire) && !request.is_newly_elected();
        if had_it && holder.is_some_and(|holder| *holder != self.relay) {
            return Err(PublishError::Fenced);
        }
        seen.extend(self.checkpoint_of(kept.as_ref(), request)?);
        Ok(seen)
    }

    /// Fences every other relay, reads the position and writes it again as this relay's.
    async fn take_over(
        &self,
        session: &mut ProducerSession,
        cluster: &Cluster,
        request: &Resume<'_>,
        deadline: Deadline,
    ) -> Result<KeptPosition, PublishError> {
        session.init_transactions(deadline).await?;
        let kept = self.positions.newest(cluster, &self.options.settings, Undecided::AwaitsItsEnd, deadline).await?;
        let checkpoint = self.checkpoint_of(kept.as_ref(), request)?;
        let transactions = Transactions {
            topic_name: native_name(&self.positions.name)?,
            topic: self.positions.clone(),
            relay: self.relay.clone(),
            position: kept.and_then(|kept| kept.value),
        };
        session.claim(transactions, deadline).await?;
        self.has_claimed.store(true, Ordering::Release);
        Ok(checkpoint.map_or(KeptPosition::NotYet, |checkpoint| KeptPosition::At(Box::new(checkpoint))))
    }

    /// The checkpoint in a record, if it has one and it belongs to the feed that asks.
    fn checkpoint_of(&self, kept: Option<&Kept>, request: &Resume<'_>) -> Result<Option<Checkpoint>, PublishError> {
        let Some(Kept { offset, value: Some(value), .. }) = kept else {
            return Ok(None);
        };
        let checkpoint: Checkpoint = serde_json::from_slice(value).map_err(|error| PublishError::Fatal {
            what: format!(
                "the record at offset {offset} of {:?} is no position that this version of change-feed can read: run \
                 the version that wrote it, or a later one",
                self.positions.name
            ),
            source: Some(Box::new(error)),
        })?;
        request.check(&checkpoint)?;
        Ok(Some(checkpoint))
    }

    /// Checks that the cluster keeps the newest position for ever.
    fn check_position_topic(&self, limits: &BTreeMap<String, TopicLimits>) -> Result<(), PublishError> {
        let name = &self.positions.name;
        match limits.get(name).and_then(|limits| limits.cleanup_policy.as_deref()) {
            Some(policy) if policy != "compact" => Err(PublishError::fatal(format!(
                "the topic {name:?} holds the feed's position and must be compacted, but its cleanup.policy is \
                 {policy:?}: set it to compact"
            ))),
            _ => Ok(()),
        }
    }

    fn create_session(&self, limits: &BTreeMap<String, TopicLimits>) -> Result<ProducerSession, PublishError> {
        let batching = Batching {
            topic_max_bytes: limits.values().filter_map(|limits| limits.max_message_bytes).min(),
            one_by_one: self.one_by_one.load(Ordering::Acquire),
        };
        Ok(ProducerSession::create(&self.options, batching, Arc::clone(&self.one_by_one), Arc::clone(&self.closing))?)
    }

    /// The topics. Missing ones are created if the publisher may.
    async fn existing_topics(
        &self,
        cluster: &Cluster,
        request: &Resume<'_>,
        names: &[String],
        seen: &[Checkpoint],
        deadline: Deadline,
    ) -> Result<BTreeMap<String, Topic>, PublishError> {
        let found = cluster.topics(names, deadline).await?;
        let is_published = |name: &str| seen.iter().any(|seen| seen.identity.publisher.topics.contains_key(name));
        let missing = names.iter().filter(|name| !found.contains_key(*name));
        let mut made = Vec::new();
        // An empty topic in the place of a published one would hide that its records are gone.
        for name in missing.filter(|name| self.options.mode == Mode::Ephemeral || !is_published(name)) {
            if let Some(plan) = self.options.new_topic(request.is_compacted(name)) {
                cluster.create(name, &plan, deadline).await?;
                made.push(name);
            }
        }
        let found = cluster.settled_topics(names, deadline).await?;
        match names.iter().find(|name| !found.contains_key(*name)) {
            None => Ok(found),
            Some(name) if made.contains(&name) => Err(PublishError::transient(format!(
                "the topic {name:?} was created, but not every broker knows it yet"
            ))),
            Some(name) if is_published(name) => {
                Err(PublishError::Closed(Mismatch::TopicRecreated { topic: name.clone() }))
            }
            Some(name) => Err(missing_topic(name)),
        }
    }

    fn routes(
        &self,
        found: &BTreeMap<String, Topic>,
        limits: &BTreeMap<String, TopicLimits>,
    ) -> Result<HashMap<String, Route>, PublishError> {
        let setting = |name| self.options.settings.get(name);
        let message_max_bytes = setting("message.max.bytes").and_then(|bytes| bytes.parse().ok());
        // A record that is too large may fit compressed: with a codec of the user's the broker decides.
        let codecs = ["compression.type", "compression.codec"];
        let is_plain = codecs.into_iter().all(|name| setting(name).is_none_or(|codec| codec == "none"));
        let route = |(name, topic): (&String, &Topic)| {
            let known = limits.get(name).and_then(|limits| limits.max_message_bytes);
            let limits = Limits {
                batch_max_bytes: known.filter(|_| is_plain),
                message_max_bytes: message_max_bytes.unwrap_or(MESSAGE_MAX_BYTES),
            };
            Ok((name.clone(), Route { name: native_name(name)?, topic: topic.clone(), limits }))
        };
        found.iter().map(route).collect()
    }

    fn written_topics(&self, names: &[String]) -> Vec<String> {
        let mut written = names.to_vec();
        if self.options.mode == Mode::Transactional {
            written.push(self.positions.name.clone());
        }
        written
    }
}

/// A name as librdkafka reads it. No topic that exists has a name with a zero in it.
fn native_name(topic: &str) -> Result<CString, PublishError> {
    CString::new(topic).map_err(|_| missing_topic(topic))
}

fn missing_topic(name: &str) -> PublishError {
    PublishError::fatal(format!(
        "the topic {name:?} does not exist on this cluster: create it (cleanup.policy=delete, retention.ms=-1), let the \
         publisher create it, or check that this is the right cluster"
    ))
}
