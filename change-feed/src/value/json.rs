//! A column's value as JSON, straight from its text.

/// The object ids of PostgreSQL's types, which never change: `pg_type.dat`.
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const JSON: u32 = 114;
    pub(super) const JSONB: u32 = 3802;
}

/// Writes the value of this type and text as JSON: booleans and integers as such, JSON as it is, all else as text.
pub(crate) fn write_json(type_oid: u32, text: &str, json: &mut Vec<u8>) {
    match type_oid {
        oid::BOOL => json.extend_from_slice(if text == "t" { b"true" } else { b"false" }),
        oid::INT2 | oid::INT4 | oid::INT8 | oid::JSON | oid::JSONB => json.extend_from_slice(text.as_bytes()),
        _ => write_json_text(text, json),
    }
}

/// Writes a text as a JSON string.
pub(crate) fn write_json_text(text: &str, json: &mut Vec<u8>) {
    // A Vec takes every byte, and a str is always a JSON string.
    let _ = serde_json::to_writer(json, text);
}
