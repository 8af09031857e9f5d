//! Amounts of money.

use std::fmt;

use crate::currency::Currency;
use crate::invalid_value::InvalidValue;
use crate::money_error::MoneyError;
use crate::quantity::Quantity;

/// An amount of money: a whole number of minor units (cents) of a currency, from 0 to `i64::MAX`.
///
/// Arithmetic is checked: an amount that can't be represented is an error, never another amount.
///
/// ```
/// use order_domain::{Currency, Money, Quantity};
///
/// let milk = Money::from_minor(149, Currency::EUR)?;
/// assert_eq!(milk.times(Quantity::new(2)?)?.to_string(), "2.98 EUR");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

impl Money {
    /// An amount in minor units: 149 of the euro are 1.49 EUR.
    ///
    /// # Errors
    /// [`InvalidValue::NegativeMoney`] below zero.
    pub const fn from_minor(minor: i64, currency: Currency) -> Result<Self, InvalidValue> {
        if minor < 0 { Err(InvalidValue::NegativeMoney) } else { Ok(Self { minor, currency }) }
    }

    /// For an amount that was checked before: it is not negative.
    pub(crate) const fn from_checked_minor(minor: i64, currency: Currency) -> Self {
        debug_assert!(minor >= 0);
        Self { minor, currency }
    }

    /// Zero, in this currency.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// The amount in minor units; never negative.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] and [`MoneyError::Overflow`].
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`], and [`MoneyError::Negative`] when `other` is more.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        if other.minor > self.minor {
            Err(MoneyError::Negative)
        } else {
            Ok(Self { minor: self.minor - other.minor, ..self })
        }
    }

    /// The price of `quantity` pieces at this price for one.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn times(self, quantity: Quantity) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_mul(quantity.into()).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::CurrencyMismatch { left: self.currency, right: other.currency })
        }
    }
}

impl fmt::Display for Money {
    /// The amount in whole units with the currency's decimals, then its code: `1.49 EUR`, `149 JPY`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { minor, currency } = *self;
        match usize::from(currency.minor_unit_digits()) {
            0 => write!(formatter, "{minor} {currency}"),
            digits => {
                let text = format!("{minor:0>width$}", width = digits + 1);
                let (units, decimals) = text.split_at(text.len() - digits);
                write!(formatter, "{units}.{decimals} {currency}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn euro(minor: i64) -> Money {
        Money::from_minor(minor, Currency::EUR).unwrap()
    }

    #[test]
    fn an_amount_may_be_nothing_and_is_never_negative() {
        assert_eq!(Money::from_minor(0, Currency::EUR), Ok(Money::zero(Currency::EUR)));
        assert_eq!(Money::from_minor(-1, Currency::EUR), Err(InvalidValue::NegativeMoney));
        assert_eq!(euro(1).minus(euro(2)), Err(MoneyError::Negative));
        assert_eq!(euro(2).minus(euro(2)), Ok(euro(0)));
    }

    #[test]
    fn what_overflows_is_an_error() {
        assert_eq!(euro(i64::MAX).plus(euro(1)), Err(MoneyError::Overflow));
        assert_eq!(euro(i64::MAX).plus(euro(0)), Ok(euro(i64::MAX)));
        assert_eq!(euro(i64::MAX / 2 + 1).times(Quantity::new(2).unwrap()), Err(MoneyError::Overflow));
        assert_eq!(euro(i64::MAX / 2).times(Quantity::new(2).unwrap()), Ok(euro(i64::MAX - 1)));
    }

    #[test]
    fn two_currencies_are_not_added() {
        let dollar = Money::from_minor(1, Currency::USD).unwrap();
        let mismatch = MoneyError::CurrencyMismatch { left: Currency::EUR, right: Currency::USD };
        assert_eq!(euro(1).plus(dollar), Err(mismatch));
        assert_eq!(euro(1).minus(dollar), Err(mismatch));
    }

    #[test]
    fn an_amount_is_shown_with_the_decimals_of_its_currency() {
        let text = |minor, currency| Money::from_minor(minor, currency).unwrap().to_string();
        assert_eq!(text(149, Currency::EUR), "1.49 EUR");
        assert_eq!(text(5, Currency::EUR), "0.05 EUR");
        assert_eq!(text(0, Currency::KWD), "0.000 KWD");
        assert_eq!(text(149, Currency::JPY), "149 JPY");
        assert_eq!(text(i64::MAX, Currency::EUR), "92233720368547758.07 EUR");
    }
}
