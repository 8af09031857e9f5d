//! Bytes that no server sent.

use change_feed::source::logical::pgoutput::Message;
use proptest::prelude::*;

use crate::sent::{Sent, any_sent};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_encoded_is_decoded_as_the_same(sent in any_sent()) {
        let bytes = sent.encode();
        let message = Message::decode(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(Sent::from(&message), sent);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in any::<Vec<u8>>()) {
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(Sent::from(&message).encode(), bytes);
        }
    }

    /// Bytes that are nearly a message get further than any bytes.
    #[test]
    fn a_message_with_a_piece_exchanged_is_decoded_or_refused(
        sent in any_sent(),
        at in any::<prop::sample::Index>(),
        piece in any::<Vec<u8>>(),
    ) {
        let mut bytes = sent.encode();
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + piece.len() / 2);
        bytes.splice(at..end, piece);
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(Sent::from(&message).encode(), bytes);
        }
    }
}
