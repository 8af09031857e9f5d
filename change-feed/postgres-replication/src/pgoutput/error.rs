//! Why bytes are not a message.

use super::kind::MessageKind;

/// Why bytes are not a message of pgoutput's protocol version 1.
///
/// None of them goes away when the same bytes are decoded again. `offset` counts the message's bytes from 0, its
/// first byte included; no error repeats a byte of what was sent, but for the one that names an unknown message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There is no byte at all.
    #[error("a message of pgoutput was expected, and there is none")]
    Empty,

    /// A message that no version of the protocol knows: the plug-in is another one, or a later one.
    #[error("pgoutput's protocol has no message that begins with the byte 0x{tag:02x}")]
    Unknown {
        /// The first byte.
        tag: u8,
    },

    /// A message of in-progress streaming or of two-phase commit: the slot, or the connection, was set up by somebody
    /// else. Ask for `proto_version` 1, and for a slot without `two_phase`.
    #[error("{message} belongs to in-progress streaming or two-phase commit, which protocol version 1 leaves out")]
    NotAskedFor {
        /// The message.
        message: MessageKind,
    },

    /// The message ends too early.
    #[error("{message} ends too early: byte {offset} should begin {expected}")]
    Truncated {
        /// The message.
        message: MessageKind,
        /// Where that which is not there in full should have begun.
        offset: usize,
        /// What should have stood there.
        expected: &'static str,
    },

    /// The message says something that pgoutput doesn't write.
    #[error("{message} has something else at byte {offset} than {expected}")]
    Unexpected {
        /// The message.
        message: MessageKind,
        /// Where it stands.
        offset: usize,
        /// What should have stood there.
        expected: &'static str,
    },

    /// The message is whole, and there are bytes behind it.
    #[error("{message} ends before byte {offset}, and there are {bytes} bytes more")]
    Trailing {
        /// The message.
        message: MessageKind,
        /// The first byte that doesn't belong to it.
        offset: usize,
        /// How many there are.
        bytes: usize,
    },
}
