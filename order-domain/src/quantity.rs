//! Quantities.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::invalid_value::InvalidValue;
use crate::limits::{MAX_QUANTITY, MIN_QUANTITY};

/// The number of pieces of an item: 1 to 999.
///
/// ```
/// use order_domain::{InvalidValue, Quantity};
///
/// assert_eq!(Quantity::new(2)?.get(), 2);
/// assert_eq!(Quantity::new(0), Err(InvalidValue::Quantity));
/// # Ok::<(), InvalidValue>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "u16")]
pub struct Quantity(u16);

impl Quantity {
    /// The smallest quantity: 1.
    pub const MIN: Self = Self(MIN_QUANTITY);
    /// The largest quantity: 999.
    pub const MAX: Self = Self(MAX_QUANTITY);

    /// Takes a number of any integer type.
    ///
    /// # Errors
    /// [`InvalidValue::Quantity`] when it isn't from 1 to 999.
    pub fn new(pieces: impl TryInto<u16>) -> Result<Self, InvalidValue> {
        match pieces.try_into() {
            Ok(pieces) if (Self::MIN.0..=Self::MAX.0).contains(&pieces) => Ok(Self(pieces)),
            _ => Err(InvalidValue::Quantity),
        }
    }

    /// The number of pieces.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<i64> for Quantity {
    type Error = InvalidValue;

    fn try_from(pieces: i64) -> Result<Self, InvalidValue> {
        Self::new(pieces)
    }
}

impl From<Quantity> for u16 {
    fn from(quantity: Quantity) -> Self {
        quantity.0
    }
}

impl From<Quantity> for i32 {
    fn from(quantity: Quantity) -> Self {
        quantity.0.into()
    }
}

impl From<Quantity> for i64 {
    fn from(quantity: Quantity) -> Self {
        quantity.0.into()
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_from_1_to_999() {
        for refused in [i64::MIN, -1, 0, 1_000, 65_537, i64::MAX] {
            assert_eq!(Quantity::new(refused), Err(InvalidValue::Quantity), "{refused}");
        }
        assert_eq!(Quantity::new(1), Ok(Quantity::MIN));
        assert_eq!(Quantity::new(999), Ok(Quantity::MAX));
    }

    #[test]
    fn json_can_not_build_what_the_constructor_refuses() {
        for refused in ["0", "1000", "-1", "1.5", "\"1\"", "null"] {
            assert!(serde_json::from_str::<Quantity>(refused).is_err(), "{refused}");
        }
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Quantity>("7").unwrap()).unwrap(), "7");
    }
}
