//! The Kafka record of an envelope, and how large it is.

use crate::feed::envelope::Envelope;
use crate::kafka::outgoing_record::RecordHeaders;

/// The number of headers that an envelope has at most.
const HEADERS_MAX: usize = 17;

/// The headers of an envelope's record.
pub(super) fn headers_of(envelope: &Envelope) -> RecordHeaders {
    let mut headers = RecordHeaders::with_capacity(HEADERS_MAX);
    envelope.visit_headers(&mut |name, value| headers.add(name, value));
    headers
}

/// The size of a record batch that holds this envelope's record alone, uncompressed: what a broker
/// compares with `max.message.bytes`.
///
/// The layout is that of record batches with magic 2
/// (<https://kafka.apache.org/documentation/#recordbatch>).
pub(super) fn batch_bytes(envelope: &Envelope) -> usize {
    const BATCH_HEADER_BYTES: usize = 61;
    /// Attributes, and the differences to the batch's timestamp and offset, which are 0.
    const FIXED_BYTES: usize = 3;
    let text_bytes = |bytes: usize| varint_bytes(bytes) + bytes;
    let (mut count, mut headers_bytes) = (0, 0);
    envelope.visit_headers(&mut |key, value| {
        count += 1;
        headers_bytes += text_bytes(key.len()) + text_bytes(value.len());
    });
    let texts = text_bytes(envelope.key().len()) + text_bytes(envelope.data().len());
    BATCH_HEADER_BYTES + text_bytes(FIXED_BYTES + texts + varint_bytes(count) + headers_bytes)
}

/// The bytes of a length as a zigzag varint.
fn varint_bytes(length: usize) -> usize {
    let zigzag = (length as u64) << 1;
    let bits = 64 - zigzag.leading_zeros() as usize;
    bits.div_ceil(7).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_bytes_that_the_protocol_gives_them() {
        for (length, bytes) in [(0, 1), (63, 1), (64, 2), (8_191, 2), (8_192, 3), (1_048_575, 3), (1_048_576, 4)] {
            assert_eq!(varint_bytes(length), bytes, "{length}");
        }
    }
}
