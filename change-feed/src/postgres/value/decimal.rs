//! An exact decimal number.

use std::fmt;
use std::str::FromStr;

/// A `numeric` as PostgreSQL writes it: every digit, and the zeros at the end that its scale asks for.
///
/// It keeps the text, since no number type of Rust holds 131,072 digits; equality is of the text too, so `12.50` is not
/// `12.5`. Besides numbers it may be `NaN`, `Infinity` and `-Infinity`.
///
/// ```
/// use change_feed::postgres::value::Decimal;
///
/// let price: Decimal = "12.50".parse()?;
/// assert_eq!(price.as_str(), "12.50");
/// assert!("1e3".parse::<Decimal>().is_err());
/// # Ok::<(), change_feed::postgres::value::InvalidDecimal>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Decimal(Box<str>);

impl Decimal {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a number: neither `NaN` nor infinite.
    pub fn is_finite(&self) -> bool {
        self.0.ends_with(|c: char| c.is_ascii_digit())
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decimal({})", self.0)
    }
}

/// A text that PostgreSQL doesn't write for a `numeric`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number in the form that PostgreSQL writes")]
pub struct InvalidDecimal;

impl FromStr for Decimal {
    type Err = InvalidDecimal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_number(text) || matches!(text, "NaN" | "Infinity" | "-Infinity") {
            Ok(Self(text.into()))
        } else {
            Err(InvalidDecimal)
        }
    }
}

/// As `numeric_out` writes it: no exponent, and a digit before the point.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (integer, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    [integer, fraction].iter().all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_stays() {
        let long = format!("-{}.{}", "9".repeat(131_072), "0".repeat(16_383));
        for text in ["0", "12.50", "-0.001", "NaN", "Infinity", "-Infinity", &long] {
            let decimal: Decimal = text.parse().expect("a decimal");
            assert_eq!(decimal.as_str(), text);
            assert_eq!(decimal.is_finite(), text.parse::<f64>().is_ok_and(f64::is_finite) || text.len() > 300);
        }
    }

    #[test]
    fn the_scale_is_part_of_it() {
        assert_ne!("12.50".parse::<Decimal>(), "12.5".parse());
    }

    #[test]
    fn what_postgresql_does_not_write_is_refused() {
        for text in ["", "-", ".5", "5.", "1e3", "+1", "1,5", "nan", "inf", "--1", "1.2.3", " 1"] {
            assert_eq!(text.parse::<Decimal>(), Err(InvalidDecimal), "{text:?}");
        }
    }
}
