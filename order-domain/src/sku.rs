//! Stock-keeping units.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::invalid_value::InvalidValue;
use crate::limits::MAX_SKU_LENGTH;

/// A stock-keeping unit: the shop's name of an article. 1 to [`Sku::MAX_LENGTH`] of the characters
/// `A`–`Z`, `a`–`z`, `0`–`9`, `.`, `_`, `/` and `-`; case-sensitive.
///
/// ```
/// use order_domain::{InvalidValue, Sku};
///
/// assert_eq!(Sku::new("milk/1l")?.as_str(), "milk/1l");
/// assert_eq!(Sku::new(""), Err(InvalidValue::SkuLength));
/// assert_eq!(Sku::new("fresh milk"), Err(InvalidValue::SkuCharacter));
/// # Ok::<(), InvalidValue>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Sku(Box<str>);

impl Sku {
    /// The most characters that a SKU can have. All of them are ASCII, so these are bytes too.
    pub const MAX_LENGTH: usize = MAX_SKU_LENGTH;

    /// Takes a text as a SKU, exactly as it is.
    ///
    /// # Errors
    /// [`InvalidValue::SkuLength`] and [`InvalidValue::SkuCharacter`].
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, InvalidValue> {
        let text = text.into();
        if !text.bytes().all(is_allowed) {
            return Err(InvalidValue::SkuCharacter);
        }
        if text.is_empty() || text.len() > Self::MAX_LENGTH {
            return Err(InvalidValue::SkuLength);
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Sku {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        Self::new(text)
    }
}

impl FromStr for Sku {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        Self::new(text)
    }
}

impl AsRef<str> for Sku {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

const fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sku_has_1_to_64_characters() {
        assert_eq!(Sku::new(""), Err(InvalidValue::SkuLength));
        assert!(Sku::new("m").is_ok());
        assert!(Sku::new("m".repeat(64)).is_ok());
        assert_eq!(Sku::new("m".repeat(65)), Err(InvalidValue::SkuLength));
    }

    #[test]
    fn a_sku_has_no_spaces_quotes_control_characters_or_letters_outside_ascii() {
        for text in ["a b", "a'b", "a\"b", "a\nb", "a\0b", "käse", "牛乳"] {
            assert_eq!(Sku::new(text), Err(InvalidValue::SkuCharacter), "{text:?}");
        }
        assert!(Sku::new("Milk_1.5-l/org").is_ok());
    }

    #[test]
    fn json_can_not_build_what_the_constructor_refuses() {
        assert!(serde_json::from_str::<Sku>("\"a b\"").is_err());
        assert_eq!(serde_json::from_str::<Sku>("\"milk\"").unwrap(), Sku::new("milk").unwrap());
    }
}
