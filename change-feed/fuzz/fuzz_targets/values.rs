//! Any text as a value of any type. The first byte chooses the type.

#![no_main]

use change_feed::postgres::value::{Value, write_json};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

const TEXT: u32 = 25;
/// `json`, `jsonb` and their arrays are written unseen.
const DOCUMENTS: [u32; 4] = [114, 3802, 199, 3807];
/// A type of each kind, arrays of them, and a type that is not built in.
const TYPES: [u32; 37] = [
    16, 17, 20, 21, 23, 25, 26, 114, 3802, 700, 701, 1082, 1083, 1114, 1184, 1266, 1700, 2950, 1000, 1001, 1016, 1005,
    1007, 1009, 1028, 199, 3807, 1021, 1022, 1182, 1183, 1115, 1185, 1270, 1231, 2951, 99_999,
];

fuzz_target!(|input: &[u8]| {
    let Some((choice, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let type_oid = TYPES[usize::from(*choice) % TYPES.len()];
    let mut json = Vec::new();
    write_json(type_oid, text, &mut json);
    if !DOCUMENTS.contains(&type_oid) {
        serde_json::from_slice::<IgnoredAny>(&json).expect("JSON");
    }
    if type_oid == TEXT {
        assert_eq!(serde_json::from_slice::<String>(&json).expect("a string"), text);
    }
    if let Value::Text(kept) = Value::from_text(type_oid, text) {
        assert_eq!(kept, text);
    }
});
