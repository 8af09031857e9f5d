//! A `timestamptz` in text form.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

/// Reads what PostgreSQL writes with `DateStyle` ISO: `2026-11-23 05:46:08.123456+00`; the offset may have minutes and
/// seconds. `None` for what no event's time can be: infinity, a year before 1 or after 9999.
pub(super) fn parse(text: &[u8]) -> Option<DateTime<Utc>> {
    let (date_and_time, rest) = text.split_at_checked(19)?;
    let [y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b' ', h1, h2, b':', mi1, mi2, b':', s1, s2] = date_and_time
    else {
        return None;
    };
    let year = two(*y1, *y2)? * 100 + two(*y3, *y4)?;
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, two(*mo1, *mo2)?, two(*d1, *d2)?)?;
    let (nanos, rest) = fraction(rest)?;
    // PostgreSQL rounds 59.9999999 up to 60 seconds; a day of its own has 24:00:00 at most.
    let (hour, minute, second) = (two(*h1, *h2)?, two(*mi1, *mi2)?, two(*s1, *s2)?);
    if hour > 24 || minute > 59 || second > 60 || year == 0 {
        return None;
    }
    let time_of_day = TimeDelta::new(i64::from(hour * 3600 + minute * 60 + second), nanos)?;
    let local = date.and_hms_opt(0, 0, 0)?.checked_add_signed(time_of_day)?;
    let utc = local.checked_sub_signed(TimeDelta::seconds(offset_seconds(rest)?))?;
    Some(utc.and_utc())
}

/// Up to nine digits behind a point, as nanoseconds, and what follows.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let (digits, rest) = digits.split_at(length);
    let number = digits.iter().fold(0, |number, &byte| number * 10 + u32::from(byte - b'0'));
    let missing = u32::try_from(9 - length).ok()?;
    Some((number * 10_u32.pow(missing), rest))
}

/// `+00`, `-03:30`, `+01:02:03`.
fn offset_seconds(text: &[u8]) -> Option<i64> {
    let (sign, rest) = text.split_first()?;
    let seconds = match rest {
        [h1, h2] => two(*h1, *h2)? * 3600,
        [h1, h2, b':', m1, m2] => two(*h1, *h2)? * 3600 + two(*m1, *m2)? * 60,
        [h1, h2, b':', m1, m2, b':', s1, s2] => two(*h1, *h2)? * 3600 + two(*m1, *m2)? * 60 + two(*s1, *s2)?,
        _ => return None,
    };
    match sign {
        b'+' => Some(i64::from(seconds)),
        b'-' => Some(-i64::from(seconds)),
        _ => None,
    }
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
    digits.then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

#[cfg(test)]
mod tests {
    use chrono::{SecondsFormat, TimeZone as _};
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<String> {
        Some(parse(text.as_bytes())?.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }

    #[test]
    fn what_postgresql_writes_is_read() {
        let texts = [
            ("2026-11-23 05:46:08+00", "2026-11-23T05:46:08Z"),
            ("2026-11-23 05:46:08.5+00", "2026-11-23T05:46:08.500Z"),
            ("2026-11-23 05:46:08.123456+05:30", "2026-11-23T00:16:08.123456Z"),
            ("1890-01-01 00:00:00-00:53:28", "1890-01-01T00:53:28Z"),
            ("0001-01-01 00:00:00+00", "0001-01-01T00:00:00Z"),
        ];
        for (text, utc) in texts {
            assert_eq!(read(text).as_deref(), Some(utc), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_of_an_event_is_refused() {
        let texts = [
            "infinity",
            "-infinity",
            "",
            "2026-11-23",
            "2026-11-23 05:46:08",
            "2026-11-23T05:46:08+00",
            "12026-11-23 05:46:08+00",
            "0044-03-15 12:00:00+00 BC",
            "2026-13-23 05:46:08+00",
            "2026-11-23 05:61:08+00",
            "2026-11-23 05:46:08.+00",
            "2026-11-23 05:46:08.1234567890+00",
            "2026-11-23 05:46:08+0",
        ];
        for text in texts {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_microsecond_reads_back(us in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let time = Utc.timestamp_micros(us).single().expect("in the years 1 to 9999");
            let text = time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string();
            prop_assert_eq!(parse(text.as_bytes()), Some(time));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&bytes);
        }
    }
}
