//! Bytes in PostgreSQL's text form.

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The bytes that the text of a `bytea` stands for, in either form (`bytea_output`): `\x` and two hexadecimal digits for
/// each, or themselves with a backslash doubled and others as a backslash and three octal digits.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    match hexadecimal(text) {
        Some(pairs) => Some(bytes_of(pairs).collect()),
        None => unescape(text),
    }
}

/// Writes the bytes that the text of a `bytea` stands for in base64 (RFC 4648, section 4, with padding). Writes nothing
/// and answers false if it is no such text.
pub(super) fn write_base64(text: &str, out: &mut Vec<u8>) -> bool {
    if let Some(pairs) = hexadecimal(text) {
        encode(bytes_of(pairs), out);
        return true;
    }
    let bytes = unescape(text);
    if let Some(bytes) = &bytes {
        encode(bytes.iter().copied(), out);
    }
    bytes.is_some()
}

/// The digits of the hexadecimal form, if it is one from the first to the last.
fn hexadecimal(text: &str) -> Option<&[[u8; 2]]> {
    let (pairs, odd) = text.strip_prefix("\\x")?.as_bytes().as_chunks();
    let all_digits = odd.is_empty() && pairs.iter().flatten().all(u8::is_ascii_hexdigit);
    all_digits.then_some(pairs)
}

fn bytes_of(pairs: &[[u8; 2]]) -> impl Iterator<Item = u8> {
    pairs.iter().map(|[high, low]| digit(*high) << 4 | digit(*low))
}

/// Of a hexadecimal digit in either case.
fn digit(byte: u8) -> u8 {
    if byte.is_ascii_digit() { byte & 0xf } else { (byte & 0xf) + 9 }
}

fn encode(mut bytes: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    let letter = |six_bits: u32| BASE64[(six_bits & 63) as usize];
    while let Some(first) = bytes.next() {
        let (second, third) = (bytes.next(), bytes.next());
        let group = u32::from(first) << 16 | u32::from(second.unwrap_or(0)) << 8 | u32::from(third.unwrap_or(0));
        out.extend([
            letter(group >> 18),
            letter(group >> 12),
            if second.is_some() { letter(group >> 6) } else { b'=' },
            if third.is_some() { letter(group) } else { b'=' },
        ]);
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return Some(bytes),
            [b'\\', b'\\', behind @ ..] => {
                bytes.push(b'\\');
                rest = behind;
            }
            [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', behind @ ..] => {
                bytes.push((high & 7) << 6 | (middle & 7) << 3 | (low & 7));
                rest = behind;
            }
            [b'\\', ..] => return None,
            [byte, behind @ ..] => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn base64(text: &str) -> Option<String> {
        let mut out = Vec::new();
        write_base64(text, &mut out).then(|| String::from_utf8(out).expect("letters"))
    }

    #[test]
    fn the_test_vectors_of_rfc_4648_are_met() {
        for (text, expected) in [
            ("\\x", ""),
            ("\\x66", "Zg=="),
            ("\\x666f", "Zm8="),
            ("\\x666F6f", "Zm9v"),
            ("\\x666f6f62", "Zm9vYg=="),
            ("\\x666f6f626172", "Zm9vYmFy"),
            ("\\xfbffbf", "+/+/"),
        ] {
            assert_eq!(base64(text).as_deref(), Some(expected));
        }
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(decode("\\x00ff5c61").as_deref(), Some(&b"\0\xff\\a"[..]));
        assert_eq!(decode("\\000\\377\\\\a").as_deref(), Some(&b"\0\xff\\a"[..]));
        assert_eq!(base64("\\000\\377\\\\a"), base64("\\x00ff5c61"));
        assert_eq!(decode(""), Some(Vec::new()));
    }

    #[test]
    fn what_is_neither_form_is_refused() {
        for text in ["\\x0", "\\x0g", "\\", "\\4", "\\400", "\\08", "a\\"] {
            assert_eq!(decode(text), None, "{text:?}");
            assert_eq!(base64(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_read_back_from_the_hexadecimal_form(bytes in any::<Vec<u8>>()) {
            let text = bytes.iter().fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}"));
            prop_assert_eq!(decode(&text), Some(bytes));
        }

        #[test]
        fn any_text_is_read_or_refused_alike(text in "[\\\\x0-9a-f]{0,12}") {
            prop_assert_eq!(decode(&text).is_some(), base64(&text).is_some());
        }
    }
}
