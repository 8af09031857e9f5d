//! Any bytes as a message of pgoutput.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postgres_replication::pgoutput::Message;

// The encoder of the tests.
#[path = "../../tests/pgoutput/sent.rs"]
mod sent;

fuzz_target!(|bytes: &[u8]| {
    match Message::decode(bytes) {
        // Nothing was overlooked and nothing invented.
        Ok(message) => assert_eq!(sent::Sent::from(&message).encode(), bytes),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
