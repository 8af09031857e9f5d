//! The partition that Kafka's JVM clients choose for a key.

/// The partition of `key` among `partitions`, as the JVM clients choose it.
///
/// That is `Utils.toPositive(Utils.murmur2(key)) % partitions` of Kafka's `BuiltInPartitioner`:
/// any other producer of the topic that keeps to its default puts the key's records beside ours.
/// `partitions` must not be 0.
pub(crate) fn partition_of(key: &[u8], partitions: u32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    // Less than 2^31, since `positive` is.
    (positive % partitions) as i32
}

/// MurmurHash2 with 32 bits and the seed of Kafka's `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Java counts in int: a length of 2^31 and more doesn't exist there.
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_jvm_client() {
        // Printed by `Utils.murmur2` of kafka-clients 4.3.1.
        let known: [(&[u8], i32); 8] = [
            (b"", 275_646_681),
            (b"a", -1_563_381_124),
            (b"ab", 316_155_434),
            (b"abc", 479_470_107),
            (b"abcd", -1_323_649_548),
            (b"order-1", 1_221_710_326),
            (b"0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b", 1_810_158_406),
            ("zażółć".as_bytes(), 2_056_704),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key) as i32, hash, "{key:?}");
        }
    }

    #[test]
    fn a_partition_is_never_negative() {
        for key in 0..10_000u32 {
            let partition = partition_of(&key.to_le_bytes(), 7);
            assert!((0..7).contains(&partition));
        }
    }
}
