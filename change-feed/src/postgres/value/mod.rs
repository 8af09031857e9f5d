//! Values of columns, made from the text form in which PostgreSQL's log carries them.
//!
//! [`Value`] is a value as a type of Rust; [`write_json`] writes it as JSON straight from the text, which is what flat
//! rows are made with. Both look at the type's OID, and both keep what they can't represent exactly as the text that
//! the database wrote.
//!
//! | PostgreSQL | [`Value`] | JSON |
//! | --- | --- | --- |
//! | `boolean` | `Bool` | `true`, `false` |
//! | `smallint`, `integer`, `bigint`, `oid` | `Int2`, `Int4`, `Int8`, `Oid` | number, every digit. Readers that keep numbers as doubles (JavaScript) round a `bigint` beyond ±2⁵³ |
//! | `real`, `double precision` | `Float4`, `Float8` | number; `"NaN"`, `"Infinity"`, `"-Infinity"` as strings, since JSON has no number for them |
//! | `numeric` | `Numeric` (the exact text) | number with every digit and zero of the text: `12.50` stays `12.50`. `"NaN"` and infinities as strings. A reader that wants it exact reads numbers as text |
//! | `json`, `jsonb` | `Json` | the document itself, byte for byte |
//! | `bytea` | `Bytes` | string in base64 (RFC 4648, padded) |
//! | `date`, `time` | `Date`, `Time` | string: `2024-02-29`, `12:34:56.789` |
//! | `timetz` | `TimeTz` | string: `12:34:56+02:00`, `12:34:56Z` |
//! | `timestamp` | `Timestamp` | string: `2024-02-29T12:34:56.789` |
//! | `timestamptz` | `TimestampTz` | string: `2024-02-29T12:34:56.789Z`; another offset than UTC's if the session has another `TimeZone` |
//! | `uuid` | `Uuid` | string |
//! | arrays of built-in types | `Array` | array, of arrays for several dimensions |
//! | text types, and all else: intervals, ranges, `inet`, enums, domains, arrays of these last two, composite types, extensions | `Text` | string |
//!
//! `infinity`, years before Christ or of more than four digits, offsets with seconds, and arrays whose subscripts don't
//! begin with 1 have no form in the third column that others would read as the same value. They are the text as it is.
//!
//! **Why base64**: it is what JSON's neighbours write for bytes (CloudEvents' `data_base64`, protobuf's JSON, Kafka
//! Connect), so readers have it at hand, and it takes 4 characters for 3 bytes where PostgreSQL's own `\x…` takes 6 (and
//! its backslash an escape).
//!
//! **A domain** is text, also over a number: the log names the domain's type and not the one beneath.
//!
//! # Beside `to_jsonb`
//!
//! The JSON means the same as the server's own `to_jsonb`, but for these: `bytea` (there `"\\x…"`), `timestamptz` (there
//! `+00:00` instead of `Z`), `timetz` (there `+02` instead of `+02:00`), `oid` (there a string), `-0` of floats (there
//! 0), domains and arrays of enums (there as the type beneath and as an array), `timestamp`s before Christ or after 9999 (there with a `T`
//! all the same), subscripts that don't begin with 1 (there forgotten), `int2vector` and `oidvector` (there an array).

pub(crate) mod array;
pub(crate) mod bytea;
pub(crate) mod decimal;
pub(crate) mod json;
pub(crate) mod kind;
pub(crate) mod moment;
pub(crate) mod number;
mod value;

pub use decimal::{Decimal, InvalidDecimal};
pub use json::{write_json, write_json_text};
pub use value::Value;
