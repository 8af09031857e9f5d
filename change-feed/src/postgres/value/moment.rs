//! Dates and times in PostgreSQL's text form, with `DateStyle` ISO.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// The date, if it has a year of four digits: not `infinity`, not before Christ, not after 9999.
pub(super) fn date(text: &str) -> Option<NaiveDate> {
    read_all(text, |reader| reader.date())
}

/// The time of day; none is later than 23:59:59.999999, though PostgreSQL has 24:00:00.
pub(super) fn time(text: &str) -> Option<NaiveTime> {
    read_all(text, |reader| reader.time())
}

/// The time of day and its distance from UTC.
pub(super) fn time_tz(text: &str) -> Option<(NaiveTime, FixedOffset)> {
    read_all(text, |reader| Some((reader.time()?, reader.offset()?)))
}

/// The date and time, with a year of four digits.
pub(super) fn timestamp(text: &str) -> Option<NaiveDateTime> {
    read_all(text, |reader| reader.timestamp())
}

/// The point in time, with a year of four digits.
pub(crate) fn timestamp_tz(text: &str) -> Option<DateTime<Utc>> {
    let local = |reader: &mut Reader<'_>| Some((reader.timestamp()?, reader.offset()?));
    let (local, offset) = read_all(text, local)?;
    Some(local.checked_sub_offset(offset)?.and_utc())
}

/// Writes the date and time in ISO 8601, with `T` between the two. Writes nothing and answers false if it is none with
/// a year of four digits.
pub(super) fn write_timestamp(text: &str, out: &mut Vec<u8>) -> bool {
    match split_timestamp(text) {
        Some((date, time, "")) => {
            write_all(&[date, "T", time], out);
            true
        }
        _ => false,
    }
}

/// The same with the distance from UTC, which is `Z` where there is none.
pub(super) fn write_timestamp_tz(text: &str, out: &mut Vec<u8>) -> bool {
    match split_timestamp(text) {
        Some((date, time, offset)) if is_offset(offset) => {
            write_all(&[date, "T", time], out);
            write_offset(offset, out);
            true
        }
        _ => false,
    }
}

/// Writes the time of day and its distance from UTC in ISO 8601. Writes nothing and answers false if it is none.
pub(super) fn write_time_tz(text: &str, out: &mut Vec<u8>) -> bool {
    match split_time(text) {
        Some((time, offset)) if is_offset(offset) => {
            write_all(&[time], out);
            write_offset(offset, out);
            true
        }
        _ => false,
    }
}

fn write_all(pieces: &[&str], out: &mut Vec<u8>) {
    pieces.iter().for_each(|piece| out.extend_from_slice(piece.as_bytes()));
}

/// PostgreSQL leaves minutes out that are 0; the profile of ISO 8601 that others read (RFC 3339) does not.
fn write_offset(offset: &str, out: &mut Vec<u8>) {
    match offset {
        "+00" => out.push(b'Z'),
        hours if hours.len() == 3 => write_all(&[hours, ":00"], out),
        hours_and_minutes => write_all(&[hours_and_minutes], out),
    }
}

/// `2024-02-29 12:34:56.789+00`: date, time, and what stands behind.
fn split_timestamp(text: &str) -> Option<(&str, &str, &str)> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = split_time(rest.strip_prefix(' ')?)?;
    matches(date, b"0000-00-00").then_some((date, time, rest))
}

/// `12:34:56.789+00`: time, and what stands behind.
fn split_time(text: &str) -> Option<(&str, &str)> {
    if !matches(text.get(..8)?, b"00:00:00") {
        return None;
    }
    let fraction = match text.as_bytes().get(8) {
        Some(b'.') => 1 + text.bytes().skip(9).take_while(u8::is_ascii_digit).count(),
        _ => 0,
    };
    (fraction != 1).then(|| text.split_at_checked(8 + fraction))?
}

/// `+00`, `-03:30`. What has seconds too has no form in RFC 3339.
fn is_offset(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or_default();
    matches(unsigned, b"00") || matches(unsigned, b"00:00")
}

/// Whether there is a digit wherever the pattern has a 0, and else the same as in the pattern.
fn matches(text: &str, pattern: &[u8]) -> bool {
    let alike = |(byte, pattern): (&u8, &u8)| if *pattern == b'0' { byte.is_ascii_digit() } else { byte == pattern };
    text.len() == pattern.len() && text.as_bytes().iter().zip(pattern).all(alike)
}

/// What is left of a text.
struct Reader<'a>(&'a [u8]);

/// What `read` finds, if it takes the whole text.
fn read_all<T>(text: &str, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Option<T> {
    let mut reader = Reader(text.as_bytes());
    let found = read(&mut reader)?;
    reader.0.is_empty().then_some(found)
}

impl Reader<'_> {
    fn timestamp(&mut self) -> Option<NaiveDateTime> {
        let date = self.date()?;
        self.expect(b' ')?;
        Some(date.and_time(self.time()?))
    }

    fn date(&mut self) -> Option<NaiveDate> {
        let year = self.number(4)?;
        self.expect(b'-')?;
        let month = self.number(2)?;
        self.expect(b'-')?;
        NaiveDate::from_ymd_opt(year.cast_signed(), month, self.number(2)?)
    }

    fn time(&mut self) -> Option<NaiveTime> {
        let hour = self.number(2)?;
        self.expect(b':')?;
        let minute = self.number(2)?;
        self.expect(b':')?;
        let second = self.number(2)?;
        let microsecond = if self.expect(b'.').is_some() { self.fraction()? } else { 0 };
        NaiveTime::from_hms_micro_opt(hour, minute, second, microsecond)
    }

    /// One to six digits behind a point, as millionths.
    fn fraction(&mut self) -> Option<u32> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let scale = 10_u32.pow(u32::try_from(6_usize.checked_sub(count)?).ok()?);
        (count > 0).then(|| self.number(count))?.map(|number| number * scale)
    }

    /// East of UTC: hours, and minutes and seconds where they are not 0.
    fn offset(&mut self) -> Option<FixedOffset> {
        let east = match self.take()? {
            b'+' => true,
            b'-' => false,
            _ => return None,
        };
        let mut seconds = self.number(2)? * 3600;
        for unit in [60, 1] {
            if self.expect(b':').is_some() {
                seconds += self.number(2)? * unit;
            }
        }
        let seconds = seconds.cast_signed();
        FixedOffset::east_opt(if east { seconds } else { -seconds })
    }

    /// At most nine digits.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte & 0xf)))
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    fn take(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: fn(&str, &mut Vec<u8>) -> bool, text: &str) -> Option<String> {
        let mut out = Vec::new();
        let is_one = write(text, &mut out);
        assert!(is_one || out.is_empty(), "{text:?}");
        is_one.then(|| String::from_utf8(out).expect("text"))
    }

    #[test]
    fn points_in_time_are_read_with_their_offset() {
        for (text, expected) in [
            ("2024-02-29 12:34:56.789+00", "2024-02-29T12:34:56.789+00:00"),
            ("2024-02-29 12:34:56.000001-03:30", "2024-02-29T16:04:56.000001+00:00"),
            ("1890-01-01 00:00:00+00:19:32", "1889-12-31T23:40:28+00:00"),
            ("9999-12-31 23:59:59.999999+00", "9999-12-31T23:59:59.999999+00:00"),
        ] {
            assert_eq!(timestamp_tz(text).expect(text).to_rfc3339(), expected);
        }
    }

    #[test]
    fn points_in_time_are_written_as_rfc_3339_has_them() {
        for (text, expected) in [
            ("2024-02-29 12:34:56+00", Some("2024-02-29T12:34:56Z")),
            ("2024-02-29 12:34:56.789+02", Some("2024-02-29T12:34:56.789+02:00")),
            ("2024-02-29 12:34:56-03:30", Some("2024-02-29T12:34:56-03:30")),
            ("1890-01-01 00:00:00+00:19:32", None),
            ("2024-02-29 12:34:56", None),
            ("2024-02-29 12:34:56+00 BC", None),
        ] {
            assert_eq!(written(write_timestamp_tz, text).as_deref(), expected, "{text}");
        }
        assert_eq!(written(write_time_tz, "12:34:56.7+02").as_deref(), Some("12:34:56.7+02:00"));
        assert_eq!(written(write_time_tz, "24:00:00+00").as_deref(), Some("24:00:00Z"));
    }

    #[test]
    fn what_has_no_year_of_four_digits_is_neither_read_nor_written() {
        for text in [
            "infinity",
            "-infinity",
            "0044-03-15 00:00:00 BC",
            "10000-01-01 00:00:00",
            "2024-02-29T12:34:56",
            "2024-02-29 12:34:56.",
            "2024-02-29 12:34",
            "29.02.2024 12:34:56",
            "",
        ] {
            assert_eq!(timestamp(text), None, "{text}");
            assert_eq!(written(write_timestamp, text), None, "{text}");
        }
        assert_eq!(date("0044-03-15 BC"), None);
        assert_eq!(date("infinity"), None);
        assert_eq!(date("2023-02-29"), None);
        assert_eq!(time("24:00:00"), None);
        assert_eq!(time("12:34:56.1234567"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "[0-9]{3,5}[-: 0-9.+é]{0,30}") {
            for write in [write_timestamp, write_timestamp_tz, write_time_tz] {
                written(write, &text);
            }
            let _ = (date(&text), time(&text), time_tz(&text), timestamp(&text), timestamp_tz(&text));
        }

        #[test]
        fn a_point_in_time_reads_back(seconds in -62_135_596_800_i64..253_402_300_800, micros in 0_u32..1_000_000) {
            let moment = DateTime::from_timestamp(seconds, micros * 1000).expect("years 1 to 9999");
            let text = moment.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string();
            prop_assert_eq!(timestamp_tz(&text), Some(moment));
            let json = written(write_timestamp_tz, &text).expect("a moment");
            prop_assert_eq!(json.parse::<DateTime<Utc>>(), Ok(moment));
        }
    }
}
