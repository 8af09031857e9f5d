//! What a broker knows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::log::Log;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::envelope::Envelope;
use crate::feed::identity::FeedName;
use crate::publisher::{PublishError, Rejection};

/// The topics of a broker, and what it keeps for feeds.
#[derive(Default)]
pub(super) struct State {
    pub(super) topics: BTreeMap<Arc<str>, Log>,
    pub(super) checkpoints: HashMap<FeedName, Checkpoint>,
    /// How often a transactional publisher of a feed has resumed: only the last one may publish.
    pub(super) generations: HashMap<FeedName, u64>,
    pub(super) max_payload_bytes: Option<usize>,
}

impl State {
    pub(super) fn check_payloads(&self, envelopes: &[Envelope]) -> Result<(), PublishError> {
        let Some(max) = self.max_payload_bytes else {
            return Ok(());
        };
        let sizes = envelopes.iter().map(|envelope| envelope.data().len()).enumerate();
        let too_large = sizes.filter(|(_, size)| *size > max);
        let reason = |size| format!("the payload has {size} bytes and the broker takes at most {max}");
        let rejections: Vec<_> = too_large.map(|(index, size)| Rejection { index, reason: reason(size) }).collect();
        if rejections.is_empty() { Ok(()) } else { Err(PublishError::Rejected(rejections)) }
    }

    pub(super) fn check_topics(&self, envelopes: &[Envelope]) -> Result<(), PublishError> {
        let missing = |envelope: &&Envelope| !self.topics.contains_key(envelope.topic());
        match envelopes.iter().find(missing) {
            None => Ok(()),
            Some(envelope) => {
                let problem = format!("there is no topic {:?}", envelope.topic());
                Err(PublishError::transient(problem))
            }
        }
    }

    pub(super) fn append(&mut self, envelopes: impl IntoIterator<Item = Envelope>) {
        for envelope in envelopes {
            if let Some(log) = self.topics.get_mut(envelope.topic()) {
                log.append(envelope);
            }
        }
    }
}
