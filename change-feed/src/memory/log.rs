//! The records of a topic.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use uuid::Uuid;

use crate::feed::envelope::Envelope;

/// A published record.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryRecord {
    /// The partition: a function of the key and the number of partitions.
    pub partition: u32,
    /// The record's place in its partition: 0, 1, 2 …
    pub offset: u64,
    /// What was published.
    pub envelope: Envelope,
}

/// The records of a topic.
pub(super) struct Log {
    pub(super) id: String,
    pub(super) records: Vec<MemoryRecord>,
    pub(super) next_offsets: Vec<u64>,
}

impl Log {
    pub(super) fn new(partitions: u32) -> Self {
        Self { id: Uuid::now_v7().to_string(), records: Vec::new(), next_offsets: vec![0; partitions.max(1) as usize] }
    }

    pub(super) fn partitions(&self) -> u32 {
        // Made from numbers that are no larger.
        self.next_offsets.len() as u32
    }

    pub(super) fn append(&mut self, envelope: Envelope) {
        let mut hasher = DefaultHasher::new();
        envelope.key().hash(&mut hasher);
        let partition = (hasher.finish() % u64::from(self.partitions())) as u32;
        let next_offset = &mut self.next_offsets[partition as usize];
        let offset = *next_offset;
        *next_offset += 1;
        self.records.push(MemoryRecord { partition, offset, envelope });
    }
}
