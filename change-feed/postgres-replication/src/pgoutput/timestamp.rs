//! PostgreSQL's timestamps.

use chrono::{DateTime, Utc};

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts, in microseconds of the Unix epoch.
const EPOCH_UNIX_US: i64 = 946_684_800_000_000;

/// A point in time as PostgreSQL sends it: microseconds since 2000-01-01T00:00:00Z.
///
/// ```
/// use postgres_replication::pgoutput::Timestamp;
///
/// let timestamp = Timestamp::from_us(86_400_000_000);
/// assert_eq!(timestamp.to_utc()?.to_rfc3339(), "2000-01-02T00:00:00+00:00");
/// # Ok::<(), postgres_replication::pgoutput::TimestampOutOfRange>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Makes the timestamp of this many microseconds after 2000-01-01T00:00:00Z; negative for before it.
    pub const fn from_us(microseconds: i64) -> Self {
        Self(microseconds)
    }

    /// Microseconds since 2000-01-01T00:00:00Z.
    pub const fn as_us(self) -> i64 {
        self.0
    }

    /// Converts it to chrono's type.
    ///
    /// # Errors
    ///
    /// Fails outside of the range of [`DateTime`], some 262,000 years before and after the common era. Only damaged bytes
    /// have such a timestamp.
    pub fn to_utc(self) -> Result<DateTime<Utc>, TimestampOutOfRange> {
        self.0
            .checked_add(EPOCH_UNIX_US)
            .and_then(DateTime::from_timestamp_micros)
            .ok_or(TimestampOutOfRange { microseconds: self.0 })
    }
}

impl TryFrom<Timestamp> for DateTime<Utc> {
    type Error = TimestampOutOfRange;

    fn try_from(timestamp: Timestamp) -> Result<Self, Self::Error> {
        timestamp.to_utc()
    }
}

/// A timestamp outside of the range of dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the timestamp is out of range: {microseconds} microseconds from 2000-01-01")]
pub struct TimestampOutOfRange {
    microseconds: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_begins_with_the_year_2000() {
        let times = [
            (0, "2000-01-01T00:00:00+00:00"),
            (1, "2000-01-01T00:00:00.000001+00:00"),
            (-1, "1999-12-31T23:59:59.999999+00:00"),
        ];
        for (microseconds, text) in times {
            let time = Timestamp::from_us(microseconds).to_utc().expect("a date");
            assert_eq!(time.to_rfc3339(), text);
        }
    }

    #[test]
    fn what_no_date_has_is_an_error() {
        for microseconds in [i64::MIN, i64::MAX] {
            assert_eq!(Timestamp::from_us(microseconds).to_utc(), Err(TimestampOutOfRange { microseconds }));
        }
    }
}
