//! A place in PostgreSQL's write-ahead log.

use std::fmt;
use std::str::FromStr;

/// A log sequence number: a byte position in PostgreSQL's write-ahead log.
///
/// Its text is PostgreSQL's own (type `pg_lsn`): the two halves in hexadecimal, without leading
/// zeros as releases up to 18 write it. The text does *not* sort as the numbers do.
///
/// ```
/// use postgres_replication::Lsn;
///
/// let lsn: Lsn = "16/B374D848".parse()?;
/// assert_eq!(lsn.as_u64(), 0x16_B374_D848);
/// assert_eq!(lsn.to_string(), "16/B374D848");
/// assert!(lsn > Lsn::INVALID);
/// # Ok::<(), postgres_replication::InvalidLsn>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// `0/0`, which is not a place in any log. PostgreSQL uses it for "no place".
    pub const INVALID: Lsn = Lsn(0);

    /// Makes the LSN of this byte of the log.
    pub const fn new(byte: u64) -> Self {
        Self(byte)
    }

    /// Returns the byte of the log.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl From<u64> for Lsn {
    fn from(byte: u64) -> Self {
        Self(byte)
    }
}

impl From<Lsn> for u64 {
    fn from(lsn: Lsn) -> Self {
        lsn.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & u64::from(u32::MAX))
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({self})")
    }
}

/// A text that is not a log sequence number: not two numbers of one to eight hexadecimal digits
/// with a slash between them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a log sequence number such as 16/B374D848")]
pub struct InvalidLsn {
    text: String,
}

impl FromStr for Lsn {
    type Err = InvalidLsn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?))))
            .ok_or_else(|| InvalidLsn { text: text.chars().take(40).collect() })
    }
}

/// Reads one half as `pg_lsn_in` does: either case, leading zeros, no sign and no space.
fn half(digits: &str) -> Option<u32> {
    let spelled = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    spelled.then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_text_is_the_one_of_postgresql() {
        let texts = [
            (0, "0/0"),
            (1, "0/1"),
            (0x16_B374_D848, "16/B374D848"),
            (1 << 32, "1/0"),
            (u64::MAX, "FFFFFFFF/FFFFFFFF"),
        ];
        for (byte, text) in texts {
            assert_eq!(Lsn::new(byte).to_string(), text);
            assert_eq!(text.parse(), Ok(Lsn::new(byte)));
        }
    }

    #[test]
    fn other_spellings_of_the_same_number_are_read() {
        for text in ["16/b374d848", "00000016/B374D848"] {
            assert_eq!(text.parse(), Ok(Lsn::new(0x16_B374_D848)));
        }
    }

    #[test]
    fn what_is_no_lsn_is_refused() {
        for text in ["", "/", "0", "0/", "/0", "0/0/0", "+1/0", "0/-1", " 0/0", "0/0 ", "1/123456789", "G/0", "0x1/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_order_is_the_order_of_the_log_not_of_the_text() {
        let early: Lsn = "9/0".parse().expect("an LSN");
        let late: Lsn = "10/0".parse().expect("an LSN");
        assert!(early < late);
        assert!(early.to_string() > late.to_string());
    }

    proptest! {
        #[test]
        fn the_text_reads_back_as_the_same_place(byte in any::<u64>()) {
            prop_assert_eq!(Lsn::new(byte).to_string().parse(), Ok(Lsn::new(byte)));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,30}") {
            let _ = text.parse::<Lsn>();
        }
    }
}
