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

    /// The partitions among 36 of the numbers from 0 to 999 in decimal, each filled up with zeros to
    /// one more than the remainder of 40: printed by `Utils.toPositive(Utils.murmur2(key)) % 36` of
    /// kafka-clients 4.3.1 and written in base 36.
    const OF_THE_JVM_CLIENT: &str = "\
            8q6vb5boqmefrm1mxmo8sneu4fwfpdg3nv1s22vjhkjhmjeetlraivx6tfyuyeprp28sscniufnfq3pprplsnynayii85df7qj8d\
            u8q0xhbehlitiybgo5bv1s4iueu1l8voqll2xxje9dxrzt4aa9en112x4t1hfe228ud6d8oq1door50iwtzu4k6vw7oyftlmu2xt\
            aa21blznnzlpmaz13e7jesu9cfn0b41um3jad9ljrekdhcnjuuo3bfs2zprdpx6khmxvzf1sf7vach90s094ya9gm2unm4d8g8kz\
            taery5vi4394zvook6xq3mn82gs5ws566ge5vuwtuwn55uwac9ofph2qeaa60iaftmqgicaht71nc9joivjcttd1e0ywpx36azor\
            bti8gd1rczdm71njpdni75rfp37l1il9pxctq6jcjklwwo0rnmwmzx2km5k16wdntrusvfwudt8hjr3wjhyuq0i5hns635b9ozff\
            uhao83t0asqb87jqzvxnnkfnx67eb396hiekr5hxeez9rpquayq8wmma0yoiijerormbx8u05enh29nwytz3ddl9qs4l4wtj32zi\
            wdo7exnxn7fc16vq8zfq0g2p433u0nx03v9r5gvts4oezv1hqhczh3znp8pjl2e07vou6dsgrve85dt5agujb9pvj89ttd1yrwvi\
            11jorjfi9pshskpvgjzub2rpinglosyto6ye4tqit775l2yxh6l0q0hrczv1m46baamqxvqrk832vf00p00wm1b0nymvrky5q3bv\
            pj3aohulm13l05py3s35yv9p7jj9kf2cae8hfi4h6maije3pcyv6s1kog0qsu63x45vnywumf22w9t1save3cililwmwz2nnamad\
            mntnn32i062rp2go0lvfg63462b0jhb88i3dsps20ldom4ryasqjrnfyyjnnibovfh9syh1wps6yoofc6didec44qoo7c2wplvn6";

    #[test]
    fn a_thousand_keys_of_all_lengths_go_where_the_jvm_client_puts_them() {
        assert_eq!(OF_THE_JVM_CLIENT.len(), 1_000);
        for (number, expected) in OF_THE_JVM_CLIENT.chars().enumerate() {
            let key = format!("{number:0width$}", width = number % 40 + 1);
            let partition = partition_of(key.as_bytes(), 36) as u32;
            assert_eq!(char::from_digit(partition, 36), Some(expected), "{key}");
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
