//! The records that a reader has received and its consumer has not taken.

use std::collections::VecDeque;

use crate::consumer::event::ReceivedEvent;
use crate::consumer::record::RecordError;

/// The records that a reader has received and its consumer has not taken, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Given {
    records: VecDeque<Result<ReceivedEvent, RecordError>>,
}

impl Given {
    pub(super) fn push(&mut self, record: Result<ReceivedEvent, RecordError>) {
        self.records.push_back(record);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The first events, at most `max`, up to a record that is no event.
    pub(super) fn events(&self, max: usize) -> impl Iterator<Item = &ReceivedEvent> {
        self.records.iter().take(max).map_while(|record| record.as_ref().ok())
    }

    /// The error of the first record, if it is no event. It is given once.
    pub(super) fn take_error(&mut self) -> Option<RecordError> {
        let error = self.records.front()?.as_ref().err()?.clone();
        self.records.pop_front();
        Some(error)
    }

    /// Removes an event that is the first of its partition. Answers whether it is.
    pub(super) fn remove(&mut self, event: &ReceivedEvent) -> bool {
        let is_of_partition = |record: &Result<_, _>| place(record).0 == event.partition();
        let Some(index) = self.records.iter().position(is_of_partition) else { return false };
        let is_first = place(&self.records[index]).1 == event.offset();
        if is_first {
            self.records.remove(index);
        }
        is_first
    }

    /// The offset of the first record of a partition.
    pub(super) fn first_offset(&self, partition: u32) -> Option<u64> {
        self.records.iter().map(place).find(|(of, _)| *of == partition).map(|(_, offset)| offset)
    }

    pub(super) fn forget(&mut self, partition: u32) {
        self.records.retain(|record| place(record).0 != partition);
    }
}

/// The partition and the offset of a record.
fn place(record: &Result<ReceivedEvent, RecordError>) -> (u32, u64) {
    match record {
        Ok(event) => (event.partition(), event.offset()),
        Err(error) => (error.partition, error.offset),
    }
}
