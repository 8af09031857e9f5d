//! The headers of an envelope: their names, and how their values are written as text.

use std::fmt::{self, Write as _};

use chrono::{DateTime, Datelike as _, SecondsFormat, Timelike as _, Utc};

/// The names of headers, for those who write them and those who read them. What each holds is said at
/// [`Envelope::visit_headers`](super::Envelope::visit_headers).
pub(crate) mod name {
    pub(crate) const CE_SPECVERSION: &str = "ce_specversion";
    pub(crate) const CE_ID: &str = "ce_id";
    pub(crate) const CE_TYPE: &str = "ce_type";
    pub(crate) const CE_SOURCE: &str = "ce_source";
    pub(crate) const CE_SUBJECT: &str = "ce_subject";
    pub(crate) const CE_TIME: &str = "ce_time";
    pub(crate) const CONTENT_TYPE: &str = "content-type";
    pub(crate) const TRACEPARENT: &str = "traceparent";
    pub(crate) const VERSION: &str = "feed_version";
    pub(crate) const OPERATION: &str = "feed_op";
    pub(crate) const COMMITTED_AT: &str = "feed_committed_at";
    pub(crate) const UNCHANGED: &str = "feed_unchanged";
    pub(crate) const POSITION: &str = "feed_position";
    pub(crate) const FEED: &str = "feed";
    pub(crate) const EPOCH: &str = "feed_epoch";
    pub(crate) const TX: &str = "feed_tx";
    pub(crate) const TX_INDEX: &str = "feed_tx_index";
    pub(crate) const TX_COUNT: &str = "feed_tx_count";
    pub(crate) const TX_PART: &str = "feed_tx_part";
    pub(crate) const WITHHELD: &str = "feed_withheld";
    pub(crate) const REPLAY: &str = "feed_replay";
    pub(crate) const SNAPSHOT: &str = "feed_snapshot";
    pub(crate) const BASELINE: &str = "feed_baseline";
    /// On the records of a topic of positions: the relay that wrote the record.
    #[cfg(feature = "kafka")]
    pub(crate) const RELAY: &str = "feed_relay";
}

/// Writes values as text and gives them on, each with its name.
pub(super) struct Headers<'v> {
    visit: &'v mut dyn FnMut(&'static str, &str),
    text: String,
}

impl<'v> Headers<'v> {
    pub(super) fn to(visit: &'v mut dyn FnMut(&'static str, &str)) -> Self {
        Self { visit, text: String::with_capacity(72) }
    }

    pub(super) fn write(&mut self, name: &'static str, value: &str) {
        (self.visit)(name, value);
    }

    pub(super) fn show(&mut self, name: &'static str, value: &dyn fmt::Display) {
        self.text.clear();
        // Writing to a String can't fail, and no `Display` here reports an error of its own.
        let _ = write!(self.text, "{value}");
        (self.visit)(name, &self.text);
    }

    pub(super) fn show_some<T: fmt::Display>(&mut self, name: &'static str, value: Option<&T>) {
        if let Some(value) = value {
            self.show(name, value);
        }
    }

    /// RFC 3339, UTC, microseconds.
    pub(super) fn time(&mut self, name: &'static str, time: DateTime<Utc>) {
        match Rfc3339::of(time) {
            Some(text) => (self.visit)(name, text.as_str()),
            None => (self.visit)(name, &time.to_rfc3339_opts(SecondsFormat::Micros, true)),
        }
    }
}

/// `2026-11-23T08:51:12.000001Z`: each record has a time, and chrono's formatter took longer for it than all other
/// headers together.
struct Rfc3339([u8; 27]);

impl Rfc3339 {
    /// `None` for a year that has not four digits, and in a leap second.
    fn of(time: DateTime<Utc>) -> Option<Self> {
        let year = u32::try_from(time.year()).ok().filter(|year| *year <= 9999)?;
        let micros = time.timestamp_subsec_micros();
        if micros >= 1_000_000 {
            return None;
        }
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], time.month());
        digits(&mut text[8..10], time.day());
        digits(&mut text[11..13], time.hour());
        digits(&mut text[14..16], time.minute());
        digits(&mut text[17..19], time.second());
        digits(&mut text[20..26], micros);
        Some(Self(text))
    }

    fn as_str(&self) -> &str {
        // Only ASCII is written there.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The last digits of the number, as many as there is room for.
fn digits(room: &mut [u8], number: u32) {
    let mut rest = number;
    for digit in room.iter_mut().rev() {
        // Less than 10.
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(time: DateTime<Utc>) -> String {
        let mut text = String::new();
        Headers::to(&mut |_, value| text = value.to_owned()).time("time", time);
        text
    }

    proptest! {
        #[test]
        fn a_time_is_written_as_chrono_writes_it(
            second in -100_000_000_000_i64..400_000_000_000, nanosecond in 0_u32..2_000_000_000,
        ) {
            // From 2_000_000_000 nanoseconds less one down to a second it is a leap second, where there is one.
            if let Some(time) = DateTime::from_timestamp(second, nanosecond) {
                prop_assert_eq!(written(time), time.to_rfc3339_opts(SecondsFormat::Micros, true));
            }
        }
    }

    #[test]
    fn a_leap_second_is_the_sixtieth() {
        let time = DateTime::from_timestamp(1_483_228_799, 1_500_000_000).expect("there was one");
        assert_eq!(written(time), "2016-12-31T23:59:60.500000Z");
    }
}
