//! The errors of the decoder.

use super::kind::MessageKind;

/// An error of the decoder: the bytes are not a message of pgoutput's protocol version 1.
///
/// The same bytes always give the same error. `offset` counts the bytes of the message from 0, its first byte included. Only
/// [`Unknown`](Self::Unknown) repeats a byte of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message has no bytes.
    #[error("the message of pgoutput is empty")]
    Empty,

    /// No version of the protocol has this message. The slot's plug-in is not pgoutput, or a later one.
    #[error("pgoutput has no message with the first byte 0x{tag:02x}; check that the slot's plug-in is pgoutput")]
    Unknown {
        /// The first byte.
        tag: u8,
    },

    /// A message of in-progress streaming or of two-phase commit. Ask for `proto_version` 1, and use a slot without
    /// `two_phase`.
    #[error(
        "{message} belongs to in-progress streaming or two-phase commit; use proto_version 1 and a slot without two_phase"
    )]
    NotAskedFor {
        /// The message.
        message: MessageKind,
    },

    /// The message ends too early.
    #[error("{message} ends too early: expected {expected} at byte {offset}")]
    Truncated {
        /// The message.
        message: MessageKind,
        /// Where the missing part should begin.
        offset: usize,
        /// What was expected there.
        expected: &'static str,
    },

    /// The message contains something that pgoutput does not write.
    #[error("{message} is malformed: expected {expected} at byte {offset}")]
    Unexpected {
        /// The message.
        message: MessageKind,
        /// Where the unexpected bytes begin.
        offset: usize,
        /// What was expected there.
        expected: &'static str,
    },

    /// The message is complete, and more bytes follow it.
    #[error("{message} is malformed: it should end before byte {offset}; unexpected bytes: {bytes}")]
    Trailing {
        /// The message.
        message: MessageKind,
        /// The first byte after the message.
        offset: usize,
        /// The number of bytes that follow.
        bytes: usize,
    },
}
