//! Numbers in text form.

/// Whether this is an integer as JSON writes it.
pub(super) fn is_json_integer(text: &str) -> bool {
    digits_behind_integer(text.as_bytes()).is_some_and(<[u8]>::is_empty)
}

/// Whether this is a number as JSON writes it (RFC 8259, section 6).
pub(super) fn is_json_number(text: &str) -> bool {
    let Some(mut rest) = digits_behind_integer(text.as_bytes()) else { return false };
    if let [b'.', fraction @ ..] = rest {
        let Some(behind) = behind_digits(fraction) else { return false };
        rest = behind;
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            behind_digits(exponent).is_some_and(<[u8]>::is_empty)
        }
        _ => false,
    }
}

/// What stands behind an integer without leading zeros, if there is one.
fn digits_behind_integer(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.strip_prefix(b"-").unwrap_or(bytes) {
        [b'0', rest @ ..] => Some(rest),
        digits => behind_digits(digits),
    }
}

/// What stands behind one digit or more, if there is one.
fn behind_digits(bytes: &[u8]) -> Option<&[u8]> {
    let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 { None } else { bytes.get(count..) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_json_has_no_number_for_is_none() {
        for text in
            ["", "-", "+1", "01", "-01", ".5", "1.", "1e", "1e+", "1 ", " 1", "NaN", "Infinity", "1.2.3", "0x1", "1_0"]
        {
            assert!(!is_json_number(text), "{text:?}");
            assert!(!is_json_integer(text), "{text:?}");
        }
    }

    #[test]
    fn what_postgresql_writes_for_numbers_is_json() {
        for text in ["0", "-0", "12.50", "0.000", "-0.001", "1e+20", "5e-324", "1.7976931348623157e+308", "1E5"] {
            assert!(is_json_number(text), "{text:?}");
        }
        for text in ["0", "-1", "9223372036854775807"] {
            assert!(is_json_integer(text), "{text:?}");
        }
        assert!(!is_json_integer("12.50"));
    }

    proptest! {
        #[test]
        fn a_number_is_one_if_a_json_parser_says_so(text in "-?[0-9]{0,3}\\.?[0-9]{0,2}[eE]?[+-]?[0-9]{0,2}") {
            prop_assert_eq!(is_json_number(&text), serde_json::from_str::<f64>(&text).is_ok());
        }
    }
}
