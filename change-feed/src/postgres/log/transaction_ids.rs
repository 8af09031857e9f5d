//! Transaction ids in full: the log carries their lower half.

/// Extends the transaction ids of a stream to `xid8`.
///
/// The server never has transactions in its log that are 2³¹ apart: it stops writing before. So the id that is meant is
/// the one nearest to an id that is known to be near: the server's next one to begin with, and then the last one seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransactionIds {
    near: u64,
}

impl TransactionIds {
    /// To begin with an id that is near.
    pub(super) fn near(near: u64) -> Self {
        Self { near }
    }

    /// The id whose lower half this is.
    pub(super) fn extend(&mut self, lower: u32) -> u64 {
        // The lower half of the difference, as a number with a sign, is the shortest way from one to the other.
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        let distance = lower.wrapping_sub(self.near as u32).cast_signed();
        self.near = self.near.checked_add_signed(i64::from(distance)).unwrap_or(u64::from(lower));
        self.near
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_go_on_behind_the_wrap_of_their_lower_half() {
        let mut ids = TransactionIds::near(0x1_0000_0005);
        assert_eq!(ids.extend(0xffff_fff0), 0xffff_fff0);
        assert_eq!(ids.extend(2), 0x1_0000_0002);
        assert_eq!(TransactionIds::near(3).extend(0xffff_fff0), 0xffff_fff0);
    }

    proptest! {
        #[test]
        fn an_id_within_half_the_circle_is_found(near in (1_u64 << 31)..(1 << 60), distance in -(1_i64 << 31)..(1 << 31)) {
            let id = near.checked_add_signed(distance).expect("far from both ends");
            #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
            let lower = id as u32;
            prop_assert_eq!(TransactionIds::near(near).extend(lower), id);
        }
    }
}
