//! The topics that a feed publishes to: where a key goes, and how large a record may be.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;

use super::record;
use crate::feed::envelope::Envelope;
use crate::feed::identity::Topic;
use crate::feed::mismatch::Mismatch;
use crate::publisher::PublishError;

/// A record is measured only if its estimated size is at most this far below its topic's limit.
const UNMEASURED_BYTES: usize = 64 * 1024;

/// A topic that the feed publishes to.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// The topic's name as librdkafka reads it.
    pub(super) name: CString,
    pub(super) topic: Topic,
    pub(super) limits: Limits,
}

/// How large a record may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The largest batch that the topic takes, where it is known and records travel uncompressed.
    pub(super) batch_max_bytes: Option<usize>,
    /// The largest sum of key and value that the client takes (`message.max.bytes`).
    pub(super) message_max_bytes: usize,
}

impl Limits {
    /// Why the envelope's record is too large, if it is.
    pub(super) fn refusal(&self, envelope: &Envelope) -> Option<String> {
        let (key, data) = (envelope.key().len(), envelope.data().len());
        if key + data > self.message_max_bytes {
            let (bytes, max_bytes) = (key + data, self.message_max_bytes);
            return Some(format!(
                "key and value have {bytes} bytes and the publisher takes {max_bytes} (message.max.bytes)"
            ));
        }
        // To measure is to write all headers: only for those that may be too large.
        let max_bytes =
            self.batch_max_bytes.filter(|max_bytes| envelope.size_bytes() + UNMEASURED_BYTES > *max_bytes)?;
        let bytes = record::batch_bytes(envelope);
        (bytes > max_bytes)
            .then(|| format!("the record has {bytes} bytes and the topic takes {max_bytes} (max.message.bytes)"))
    }
}

/// Compares the topics with those of the start.
pub(super) fn compare(routes: &HashMap<String, Route>, found: &BTreeMap<String, Topic>) -> Result<(), PublishError> {
    for (name, route) in routes {
        let Some(now) = found.get(name) else {
            // Whether it is gone, or the broker does not know it yet, the next start finds out.
            return Err(PublishError::transient(format!("the topic {name:?} is not there at present")));
        };
        if now.partitions != route.topic.partitions {
            return Err(PublishError::Closed(Mismatch::Repartitioned {
                topic: name.clone(),
                stored: route.topic.partitions,
                found: now.partitions,
            }));
        }
        if let (Some(before), Some(now)) = (&route.topic.id, &now.id)
            && before != now
        {
            return Err(PublishError::Closed(Mismatch::TopicRecreated { topic: name.clone() }));
        }
    }
    Ok(())
}
