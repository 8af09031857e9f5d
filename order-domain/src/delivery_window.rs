//! Delivery windows.

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};

use crate::invalid_value::InvalidValue;
use crate::timestamp;

/// The time in which an order is delivered: from `starts_at` until before `ends_at`, within the years 1970 to 9999, kept in
/// microseconds (anything finer is cut off).
///
/// The domain has no clock: callers check whether a window lies in the past.
///
/// ```
/// use chrono::{TimeDelta, TimeZone, Utc};
/// use order_domain::{DeliveryWindow, InvalidValue};
///
/// let noon = Utc.with_ymd_and_hms(2026, 10, 2, 12, 0, 0).unwrap();
/// let window = DeliveryWindow::new(noon, noon + TimeDelta::hours(2))?;
/// assert_eq!(window.starts_at(), noon);
/// assert_eq!(DeliveryWindow::new(noon, noon), Err(InvalidValue::WindowOrder));
/// # Ok::<(), InvalidValue>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bounds")]
pub struct DeliveryWindow {
    #[serde(serialize_with = "timestamp::serialize")]
    starts_at: DateTime<Utc>,
    #[serde(serialize_with = "timestamp::serialize")]
    ends_at: DateTime<Utc>,
}

impl DeliveryWindow {
    /// A window from `starts_at` until before `ends_at`.
    ///
    /// # Errors
    /// [`InvalidValue::WindowYear`] and [`InvalidValue::WindowOrder`] (checked after both are cut to microseconds).
    pub fn new(starts_at: DateTime<Utc>, ends_at: DateTime<Utc>) -> Result<Self, InvalidValue> {
        let window = Self { starts_at: kept(starts_at)?, ends_at: kept(ends_at)? };
        if window.starts_at < window.ends_at { Ok(window) } else { Err(InvalidValue::WindowOrder) }
    }

    /// The first moment.
    #[must_use]
    pub const fn starts_at(&self) -> DateTime<Utc> {
        self.starts_at
    }

    /// The moment after the last one.
    #[must_use]
    pub const fn ends_at(&self) -> DateTime<Utc> {
        self.ends_at
    }
}

#[derive(Deserialize)]
struct Bounds {
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}

impl TryFrom<Bounds> for DeliveryWindow {
    type Error = InvalidValue;

    fn try_from(bounds: Bounds) -> Result<Self, InvalidValue> {
        Self::new(bounds.starts_at, bounds.ends_at)
    }
}

/// RFC 3339 has four digits for the year; before 1970 nobody delivered.
fn kept(time: DateTime<Utc>) -> Result<DateTime<Utc>, InvalidValue> {
    timestamp::truncate_to_microseconds(time)
        .filter(|time| (1970..=9999).contains(&time.year()))
        .ok_or(InvalidValue::WindowYear)
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone};

    use super::*;

    fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 10, 2, 12, 0, 0).unwrap()
    }

    #[test]
    fn a_window_ends_after_it_starts() {
        assert!(DeliveryWindow::new(noon(), noon() + TimeDelta::microseconds(1)).is_ok());
        assert_eq!(DeliveryWindow::new(noon(), noon()), Err(InvalidValue::WindowOrder));
        assert_eq!(DeliveryWindow::new(noon(), noon() - TimeDelta::hours(1)), Err(InvalidValue::WindowOrder));
    }

    #[test]
    fn what_is_finer_than_a_microsecond_is_cut_off_before_the_window_is_judged() {
        let almost = noon() + TimeDelta::nanoseconds(1_999);
        let window = DeliveryWindow::new(almost, noon() + TimeDelta::hours(1)).unwrap();
        assert_eq!(window.starts_at(), noon() + TimeDelta::microseconds(1));
        assert_eq!(DeliveryWindow::new(noon(), noon() + TimeDelta::nanoseconds(999)), Err(InvalidValue::WindowOrder));
    }

    #[test]
    fn a_window_lies_in_the_years_1970_to_9999() {
        let year = |year| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap();
        assert!(DeliveryWindow::new(year(1970), year(9999)).is_ok());
        assert_eq!(DeliveryWindow::new(year(1969), year(2026)), Err(InvalidValue::WindowYear));
        assert_eq!(DeliveryWindow::new(year(2026), year(10_000)), Err(InvalidValue::WindowYear));
        let widest = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
        assert_eq!(DeliveryWindow::new(widest.0, widest.1), Err(InvalidValue::WindowYear));
    }

    #[test]
    fn json_has_six_decimals_in_utc_and_any_offset_is_read() {
        let json = r#"{"starts_at":"2026-10-02T14:00:00+02:00","ends_at":"2026-10-02T14:00:00.5Z"}"#;
        let window: DeliveryWindow = serde_json::from_str(json).unwrap();
        assert_eq!(
            serde_json::to_string(&window).unwrap(),
            r#"{"starts_at":"2026-10-02T12:00:00.000000Z","ends_at":"2026-10-02T14:00:00.500000Z"}"#
        );
    }

    #[test]
    fn a_leap_second_becomes_the_second_after_it() {
        let json = r#"{"starts_at":"2016-12-31T23:59:60Z","ends_at":"2017-01-02T00:00:00Z"}"#;
        let window: DeliveryWindow = serde_json::from_str(json).unwrap();
        assert_eq!(window.starts_at(), Utc.with_ymd_and_hms(2017, 1, 1, 0, 0, 0).unwrap());
    }

    #[test]
    fn json_can_not_build_what_the_constructor_refuses() {
        for refused in [
            r#"{"starts_at":"2026-10-02T12:00:00Z","ends_at":"2026-10-02T12:00:00Z"}"#,
            r#"{"starts_at":"2026-10-02T12:00:00Z"}"#,
            r#"{"starts_at":"tomorrow","ends_at":"2026-10-02T12:00:00Z"}"#,
            r#"{"starts_at":1790000000,"ends_at":1790000001}"#,
        ] {
            assert!(serde_json::from_str::<DeliveryWindow>(refused).is_err(), "{refused}");
        }
    }
}
