//! A column's value as a type of Rust.

use std::str::FromStr;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use uuid::Uuid;

use super::decimal::Decimal;
use super::kind::{Kind, Shape};
use super::number::is_json_integer;
use super::{array, bytea, moment};
use crate::feed::row::Cell;

/// The value of a column.
///
/// Nothing is rounded or lost: what the type of Rust can't hold exactly stays [`Value::Text`], and so does every type that is
/// not named here. `infinity`, years before Christ and after 9999, 24:00:00, and arrays whose subscripts don't begin
/// with 1 are such values.
///
/// ```
/// use change_feed::postgres::value::Value;
///
/// assert_eq!(Value::from_text(23, "42"), Value::Int4(42));
/// assert_eq!(Value::from_text(1082, "infinity"), Value::Text("infinity".to_owned()));
/// let Value::Numeric(price) = Value::from_text(1700, "12.50") else { unreachable!() };
/// assert_eq!(price.as_str(), "12.50");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// SQL's null.
    Null,
    /// Stored outside of the row and not touched by the change: the log does not carry it.
    Unchanged,
    /// `boolean`.
    Bool(bool),
    /// `smallint`.
    Int2(i16),
    /// `integer`.
    Int4(i32),
    /// `bigint`.
    Int8(i64),
    /// `oid`.
    Oid(u32),
    /// `real`, with NaN, the infinities and −0.
    Float4(f32),
    /// `double precision`, with NaN, the infinities and −0.
    Float8(f64),
    /// `numeric`, exact.
    Numeric(Decimal),
    /// `bytea`.
    Bytes(Vec<u8>),
    /// `date`.
    Date(NaiveDate),
    /// `time`.
    Time(NaiveTime),
    /// `time with time zone`.
    TimeTz(NaiveTime, FixedOffset),
    /// `timestamp`.
    Timestamp(NaiveDateTime),
    /// `timestamp with time zone`.
    TimestampTz(DateTime<Utc>),
    /// `uuid`.
    Uuid(Uuid),
    /// `json` and `jsonb`: the document as the database writes it.
    Json(String),
    /// An array of a built-in type; one of several dimensions is an array of arrays.
    Array(Vec<Value>),
    /// Text, and whatever else has no type here.
    Text(String),
}

impl Value {
    /// The value of this type (PostgreSQL's OID) and text, as the type's output function writes it with `DateStyle` ISO.
    pub fn from_text(type_oid: u32, text: &str) -> Self {
        let value = match Shape::of(type_oid) {
            Shape::Single(kind) => single(kind, text),
            Shape::Array(element) => {
                let mut arrays = Arrays { element, open: Vec::new(), whole: None };
                array::walk(text, &mut arrays).and(arrays.whole)
            }
        };
        value.unwrap_or_else(|| Self::Text(text.to_owned()))
    }

    /// The value of a cell of a column of this type.
    pub fn from_cell(type_oid: u32, cell: Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Unchanged => Self::Unchanged,
            Cell::Text(text) => Self::from_text(type_oid, text),
        }
    }
}

/// The value, if its type of Rust holds it exactly.
fn single(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Bool => match text {
            "t" => Some(Value::Bool(true)),
            "f" => Some(Value::Bool(false)),
            _ => None,
        },
        Kind::Int2 => integer(text).map(Value::Int2),
        Kind::Int4 => integer(text).map(Value::Int4),
        Kind::Int8 => integer(text).map(Value::Int8),
        Kind::Oid => integer(text).map(Value::Oid),
        Kind::Float4 => float(text, f32::is_finite).map(Value::Float4),
        Kind::Float8 => float(text, f64::is_finite).map(Value::Float8),
        Kind::Numeric => text.parse().ok().map(Value::Numeric),
        Kind::Bytea => bytea::decode(text).map(Value::Bytes),
        Kind::Date => moment::date(text).map(Value::Date),
        Kind::Time => moment::time(text).map(Value::Time),
        Kind::TimeTz => moment::time_tz(text).map(|(time, offset)| Value::TimeTz(time, offset)),
        Kind::Timestamp => moment::timestamp(text).map(Value::Timestamp),
        Kind::TimestampTz => moment::timestamp_tz(text).map(Value::TimestampTz),
        Kind::Uuid => Uuid::try_parse(text).ok().map(Value::Uuid),
        Kind::Json => Some(Value::Json(text.to_owned())),
        Kind::Text => None,
    }
}

/// An integer in the one spelling that PostgreSQL has for it.
fn integer<I: FromStr>(text: &str) -> Option<I> {
    if is_json_integer(text) { text.parse().ok() } else { None }
}

/// A number that is read as an infinity is a larger one than the type holds.
fn float<F: FromStr + Copy>(text: &str, is_finite: fn(F) -> bool) -> Option<F> {
    let is_number = text.ends_with(|last: char| last.is_ascii_digit());
    text.parse().ok().filter(|number| !is_number || is_finite(*number))
}

/// Collects an array.
struct Arrays {
    element: Kind,
    /// Opened and not yet closed, the outermost first.
    open: Vec<Vec<Value>>,
    whole: Option<Value>,
}

impl array::Visitor for Arrays {
    fn open(&mut self) {
        self.open.push(Vec::new());
    }

    fn next(&mut self) {}

    fn element(&mut self, text: Option<&str>) {
        let value = text.map(|text| single(self.element, text).unwrap_or_else(|| Value::Text(text.to_owned())));
        if let Some(row) = self.open.last_mut() {
            row.push(value.unwrap_or(Value::Null));
        }
    }

    fn close(&mut self) {
        let closed = self.open.pop().map(Value::Array);
        match self.open.last_mut() {
            Some(outer) => outer.extend(closed),
            None => self.whole = closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cell_may_be_null_or_unchanged() {
        assert_eq!(Value::from_cell(23, Cell::Null), Value::Null);
        assert_eq!(Value::from_cell(23, Cell::Unchanged), Value::Unchanged);
        assert_eq!(Value::from_cell(23, Cell::Text("7")), Value::Int4(7));
    }

    #[test]
    fn what_the_type_cannot_hold_stays_text() {
        for (type_oid, text) in [
            (16, "true"),
            (21, "32768"),
            (23, "2147483648"),
            (23, "+1"),
            (20, "01"),
            (26, "-1"),
            (700, "1e39"),
            (701, "1e309"),
            (701, "x"),
            (1700, "1e5"),
            (17, "\\x0"),
            (1083, "24:00:00"),
            (1114, "10000-01-01 00:00:00"),
            (1184, "-infinity"),
            (2950, "x"),
            (1007, "[0:1]={1,2}"),
            (600, "(1,2)"),
            (99_999, "open"),
        ] {
            assert_eq!(Value::from_text(type_oid, text), Value::Text(text.to_owned()), "{type_oid}");
        }
    }

    #[test]
    fn floats_keep_what_integers_have_not() {
        assert!(matches!(Value::from_text(701, "NaN"), Value::Float8(number) if number.is_nan()));
        assert!(
            matches!(Value::from_text(701, "-0"), Value::Float8(number) if number.to_bits() == (-0.0_f64).to_bits())
        );
        assert_eq!(Value::from_text(700, "-Infinity"), Value::Float4(f32::NEG_INFINITY));
    }

    proptest! {
        #[test]
        fn any_text_of_any_type_is_a_value(type_oid in 0_u32..5000, text in any::<String>()) {
            let _ = Value::from_text(type_oid, &text);
        }
    }
}
