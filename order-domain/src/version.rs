//! Versions of an order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::invalid_value::InvalidValue;
use crate::limits::MAX_VERSION;

/// A version of an order: 1, 2, 3 … Every change of an order takes the next one. Fits SQL's `bigint`.
///
/// ```
/// use order_domain::Version;
///
/// assert_eq!(Version::FIRST.next(), Some(Version::new(2)?));
/// assert_eq!("2".parse(), Version::new(2));
/// # Ok::<(), order_domain::InvalidValue>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Version(i64);

impl Version {
    /// The version of a new order: 1.
    pub const FIRST: Self = Self(1);
    /// The last version there can be: `i64::MAX`.
    pub const MAX: Self = Self(MAX_VERSION);

    /// Takes a number of any integer type.
    ///
    /// # Errors
    /// [`InvalidValue::Version`] when it is below 1 or above [`Version::MAX`].
    pub fn new(number: impl TryInto<i64>) -> Result<Self, InvalidValue> {
        match number.try_into() {
            Ok(number) if number >= Self::FIRST.0 => Ok(Self(number)),
            _ => Err(InvalidValue::Version),
        }
    }

    /// The number; never below 1.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The version after this one; `None` after [`Version::MAX`].
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl TryFrom<i64> for Version {
    type Error = InvalidValue;

    fn try_from(number: i64) -> Result<Self, InvalidValue> {
        Self::new(number)
    }
}

impl From<Version> for i64 {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl From<Version> for u64 {
    fn from(version: Version) -> Self {
        version.0.unsigned_abs()
    }
}

impl FromStr for Version {
    type Err = InvalidValue;

    /// Reads decimal digits, as `Display` writes them: no sign, no leading zero.
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text.starts_with(['+', '0']) {
            return Err(InvalidValue::Version);
        }
        text.parse::<i64>().map_err(|_| InvalidValue::Version).and_then(Self::new)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_start_at_1_and_step_by_1() {
        assert_eq!(Version::FIRST.get(), 1);
        assert_eq!(Version::FIRST.next().map(Version::get), Some(2));
        for refused in [i64::MIN, -1, 0] {
            assert_eq!(Version::new(refused), Err(InvalidValue::Version));
        }
        assert_eq!(Version::new(u64::MAX), Err(InvalidValue::Version));
    }

    #[test]
    fn the_last_version_has_no_next_one() {
        assert_eq!(Version::MAX.next(), None);
    }

    #[test]
    fn a_version_is_read_from_its_own_text_and_from_no_other() {
        assert_eq!("12".parse(), Version::new(12));
        for refused in ["", "0", "-1", "+1", "01", "1 ", "one", "9223372036854775808"] {
            assert_eq!(refused.parse::<Version>(), Err(InvalidValue::Version), "{refused:?}");
        }
    }

    #[test]
    fn json_can_not_build_what_the_constructor_refuses() {
        assert!(serde_json::from_str::<Version>("0").is_err());
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Version>("3").unwrap()).unwrap(), "3");
    }
}
