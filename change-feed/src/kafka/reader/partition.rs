//! The place of a reader in a partition.

/// The place of a reader in a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartitionProgress {
    /// The next offset to receive.
    pub(super) next: u64,
    /// The end when it was last marked.
    pub(super) end: u64,
    /// The newest end that the partition had before the client was last assigned its offset.
    known_end: u64,
    /// Whether anything has come of it since the last check.
    is_heard: bool,
}

impl PartitionProgress {
    pub(super) fn new(next: u64, end: u64) -> Self {
        Self { next, end, known_end: end, is_heard: false }
    }

    /// Marks the end. The client has to be assigned its offset again: an end that it has reported already would be taken
    /// for this one.
    pub(super) fn mark_end(&mut self, end: u64) {
        (self.end, self.known_end) = (end, end);
    }

    /// Notes a message.
    pub(super) fn received(&mut self, offset: u64) {
        self.next = offset + 1;
        self.is_heard = true;
    }

    /// Notes that the client has come to the end. Under `read_committed` that is the last stable offset, and offsets
    /// before it that gave no message hold markers and aborted records.
    pub(super) fn ended(&mut self) {
        self.next = self.next.max(self.known_end);
        self.is_heard = true;
    }

    /// Whether everything before the marked end has been received.
    pub(super) fn is_at_end(&self) -> bool {
        self.next >= self.end
    }

    /// Whether nothing has come since the last call.
    pub(super) fn was_silent(&mut self) -> bool {
        !std::mem::take(&mut self.is_heard)
    }

    /// Whether it is still silent though it goes on to this end. If so, the client has to be assigned its offset again:
    /// where only markers are left, it then reports this end.
    pub(super) fn lags_behind(&mut self, end: u64) -> bool {
        let lags = !self.is_heard && self.next < end;
        if lags {
            self.known_end = end;
        }
        lags
    }
}
