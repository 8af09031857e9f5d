//! How a publisher to memory delivers.

/// How a [`MemoryPublisher`](super::MemoryPublisher) delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Transactional,
    Idempotent,
    Ephemeral,
}
