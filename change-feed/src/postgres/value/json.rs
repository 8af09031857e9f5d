//! A column's value as JSON, straight from its text.

use super::kind::{Kind, Shape};
use super::number::{is_json_integer, is_json_number};
use super::{array, bytea, moment};

/// Writes the value of this type and text as JSON.
///
/// The text is what the type's output function writes, with `DateStyle` ISO and `TimeZone` UTC. Whatever the text,
/// what is written is one JSON value, unless the type is `json` or `jsonb`, whose text is taken over unseen: the
/// database has checked it. [The module](super) says what becomes of each type.
///
/// ```
/// use change_feed::postgres::value::write_json;
///
/// let mut json = Vec::new();
/// write_json(1700, "12.50", &mut json); // numeric
/// json.push(b' ');
/// write_json(1184, "2026-11-23 05:42:31+00", &mut json); // timestamptz
/// assert_eq!(json, br#"12.50 "2026-11-23T05:42:31Z""#);
/// ```
pub fn write_json(type_oid: u32, text: &str, json: &mut Vec<u8>) {
    match Shape::of(type_oid) {
        Shape::Single(kind) => write_single(kind, text, json),
        Shape::Array(element) => {
            let start = json.len();
            if array::walk(text, &mut JsonArray { element, json }).is_none() {
                json.truncate(start);
                write_json_text(text, json);
            }
        }
    }
}

fn write_single(kind: Kind, text: &str, json: &mut Vec<u8>) {
    let is_literal = match kind {
        Kind::Bool => return write_bool(text, json),
        Kind::Bytea => return write_quoted(bytea::write_base64, text, json),
        Kind::Timestamp => return write_quoted(moment::write_timestamp, text, json),
        Kind::TimestampTz => return write_quoted(moment::write_timestamp_tz, text, json),
        Kind::TimeTz => return write_quoted(moment::write_time_tz, text, json),
        Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Oid => is_json_integer(text),
        Kind::Float4 | Kind::Float8 | Kind::Numeric => is_json_number(text),
        // No document is empty.
        Kind::Json => !text.is_empty(),
        Kind::Text | Kind::Date | Kind::Time | Kind::Uuid => false,
    };
    if is_literal {
        json.extend_from_slice(text.as_bytes());
    } else {
        write_json_text(text, json);
    }
}

fn write_bool(text: &str, json: &mut Vec<u8>) {
    match text {
        "t" => json.extend_from_slice(b"true"),
        "f" => json.extend_from_slice(b"false"),
        _ => write_json_text(text, json),
    }
}

/// A form of its own that needs no escapes, in quotes; the text itself where there is none.
fn write_quoted(write: fn(&str, &mut Vec<u8>) -> bool, text: &str, json: &mut Vec<u8>) {
    let start = json.len();
    json.push(b'"');
    if write(text, json) {
        json.push(b'"');
    } else {
        json.truncate(start);
        write_json_text(text, json);
    }
}

/// PostgreSQL's braces and commas are JSON's brackets and commas.
struct JsonArray<'a> {
    element: Kind,
    json: &'a mut Vec<u8>,
}

impl array::Visitor for JsonArray<'_> {
    fn open(&mut self) {
        self.json.push(b'[');
    }

    fn next(&mut self) {
        self.json.push(b',');
    }

    fn element(&mut self, text: Option<&str>) {
        match text {
            Some(text) => write_single(self.element, text, self.json),
            None => self.json.extend_from_slice(b"null"),
        }
    }

    fn close(&mut self) {
        self.json.push(b']');
    }
}

/// Writes a text as a JSON string.
pub fn write_json_text(text: &str, json: &mut Vec<u8>) {
    json.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_len_bytes(rest));
        json.extend_from_slice(plain);
        let Some((special, behind)) = special.split_first() else { break };
        write_escape(*special, json);
        rest = behind;
    }
    json.push(b'"');
}

/// How many bytes stand before the first that needs an escape. By blocks, for which the compiler uses vectors.
fn plain_len_bytes(bytes: &[u8]) -> usize {
    const BLOCK_BYTES: usize = 16;
    let is_plain =
        |block: &&[u8; BLOCK_BYTES]| !block.iter().fold(false, |special, byte| special | needs_escape(*byte));
    let (blocks, _) = bytes.as_chunks::<BLOCK_BYTES>();
    let in_blocks = blocks.iter().take_while(is_plain).count() * BLOCK_BYTES;
    in_blocks + bytes.iter().skip(in_blocks).take_while(|byte| !needs_escape(**byte)).count()
}

/// RFC 8259, section 7: quote, backslash and control characters.
const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_escape(byte: u8, json: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let letter = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let digit = |four_bits: u8| DIGITS[usize::from(four_bits & 0xf)];
            return json.extend([b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
        }
    };
    json.extend([b'\\', letter]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One type of each kind, an array, and a type that no database has built in.
    const TYPES: [u32; 22] = [
        16, 17, 20, 21, 23, 25, 26, 700, 701, 1082, 1083, 1114, 1184, 1266, 1700, 2950, 1000, 1001, 1009, 1185, 1231,
        99_999,
    ];

    fn json(type_oid: u32, text: &str) -> String {
        let mut json = Vec::new();
        write_json(type_oid, text, &mut json);
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    #[test]
    fn what_is_written_goes_behind_what_is_there() {
        let mut json = b"[".to_vec();
        write_json(1007, "{1,2", &mut json);
        assert_eq!(json, br#"["{1,2""#);
    }

    #[test]
    fn a_text_that_its_type_does_not_write_stays_text() {
        for (type_oid, text) in [
            (16, "true"),
            (23, "1.5"),
            (20, "007"),
            (701, "NaN"),
            (1700, "-Infinity"),
            (17, "\\x0"),
            (1184, "infinity"),
            (1266, "12:34"),
            (114, ""),
            (1007, "[0:1]={1,2}"),
        ] {
            assert_eq!(json(type_oid, text), serde_json::to_string(text).expect("a string"), "{type_oid}");
        }
    }

    #[test]
    fn every_character_is_escaped_as_a_json_writer_does() {
        for byte in 0..=0x7f_u8 {
            for place in [0, 7, 15, 16, 17, 40] {
                let text = format!("{}{}é{}", "x".repeat(place), char::from(byte), "y".repeat(20));
                assert_eq!(json(25, &text), serde_json::to_string(&text).expect("a string"));
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_of_any_type_is_one_json_value(type_oid in proptest::sample::select(&TYPES), text in any::<String>()) {
            let json = json(type_oid, &text);
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok(), "{}", json);
        }

        #[test]
        fn nearly_a_value_of_any_type_is_one_json_value(
            type_oid in proptest::sample::select(&TYPES),
            text in "[-+]?[{\\\\x]{0,2}[0-9]{0,4}[-.:e]?[0-9]{0,2}[-: \",]?[0-9a-f]{0,5}[:+]?[0-9]{0,2}[}\"]{0,2}",
        ) {
            let json = json(type_oid, &text);
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok(), "{}", json);
        }

        #[test]
        fn a_text_reads_back_from_its_json(text in any::<String>()) {
            prop_assert_eq!(serde_json::from_str::<String>(&json(25, &text)).ok(), Some(text));
        }
    }
}
