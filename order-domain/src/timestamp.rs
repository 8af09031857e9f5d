//! Times as databases and JSON keep them: microseconds, UTC, RFC 3339 with six decimals.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// Cuts a time to microseconds. `None` outside of the range of `DateTime`.
///
/// A leap second (`23:59:60`) becomes the second after it, as in PostgreSQL.
pub(crate) fn truncate_to_microseconds(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(time.timestamp_micros())
}

/// For `#[serde(serialize_with)]`: `2026-01-02T03:04:05.123456Z`.
pub(crate) fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
}
