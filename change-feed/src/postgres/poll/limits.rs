//! How much a poll reads at a time.

/// How much is read at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct PollLimits {
    /// The rows of a page; a window of more rows is given in pages.
    pub(super) window_rows: u32,
    /// The bytes of payload that end a page.
    pub(super) page_bytes: usize,
}
