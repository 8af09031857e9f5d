//! Where a reader stands in a partition.

/// Where a reader stands in a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartitionProgress {
    /// The offset that comes next.
    pub(super) next: u64,
    /// The end when it was last marked.
    pub(super) end: u64,
    /// The newest end that the partition had before the client was last told where to read.
    known_end: u64,
    /// Something has come of it since the last look.
    is_heard: bool,
}

impl PartitionProgress {
    pub(super) fn new(next: u64, end: u64) -> Self {
        Self { next, end, known_end: end, is_heard: false }
    }

    /// Ends here for who reads what is there. The client has to be told again where to read: news of an end that is
    /// waiting in it would be taken for news of this one.
    pub(super) fn mark_end(&mut self, end: u64) {
        (self.end, self.known_end) = (end, end);
    }

    /// A message came.
    pub(super) fn received(&mut self, offset: u64) {
        self.next = offset + 1;
        self.is_heard = true;
    }

    /// The client has come to the end. Under `read_committed` that is the last stable offset, and offsets before it that
    /// gave no message hold markers and aborted records.
    pub(super) fn ended(&mut self) {
        self.next = self.next.max(self.known_end);
        self.is_heard = true;
    }

    /// Whether everything before the marked end has been given.
    pub(super) fn is_at_end(&self) -> bool {
        self.next >= self.end
    }

    /// Whether nothing has come since this was asked last.
    pub(super) fn was_silent(&mut self) -> bool {
        !std::mem::take(&mut self.is_heard)
    }

    /// Whether it is still silent though it goes on to this end. If so, the client has to be told again where to read:
    /// markers alone may be what is left, and then the next that it says is that this is the end.
    pub(super) fn lags_behind(&mut self, end: u64) -> bool {
        let lags = !self.is_heard && self.next < end;
        if lags {
            self.known_end = end;
        }
        lags
    }
}
