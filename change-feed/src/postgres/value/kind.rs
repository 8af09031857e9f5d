//! What the text of a type says.

/// What the text form of a type says, as far as this crate looks into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Bytea,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Uuid,
    Json,
    /// Text, and every type that is not one of the others.
    Text,
}

/// What the text form of a column's type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value.
    Single(Kind),
    /// An array of such values, of any dimensions.
    Array(Kind),
}

impl Shape {
    /// The shape of the type with this OID: of built-in types alone, whose OIDs are the same in every database
    /// (`src/include/catalog/pg_type.dat`). A domain, an enum and a type of an extension have OIDs of their
    /// database's own.
    pub(super) fn of(type_oid: u32) -> Self {
        match type_oid {
            16 => Self::Single(Kind::Bool),
            17 => Self::Single(Kind::Bytea),
            20 => Self::Single(Kind::Int8),
            21 => Self::Single(Kind::Int2),
            23 => Self::Single(Kind::Int4),
            26 => Self::Single(Kind::Oid),
            114 | 3802 => Self::Single(Kind::Json),
            700 => Self::Single(Kind::Float4),
            701 => Self::Single(Kind::Float8),
            1082 => Self::Single(Kind::Date),
            1083 => Self::Single(Kind::Time),
            1114 => Self::Single(Kind::Timestamp),
            1184 => Self::Single(Kind::TimestampTz),
            1266 => Self::Single(Kind::TimeTz),
            1700 => Self::Single(Kind::Numeric),
            2950 => Self::Single(Kind::Uuid),
            1000 => Self::Array(Kind::Bool),
            1001 => Self::Array(Kind::Bytea),
            1016 => Self::Array(Kind::Int8),
            1005 => Self::Array(Kind::Int2),
            1007 => Self::Array(Kind::Int4),
            1028 => Self::Array(Kind::Oid),
            199 | 3807 => Self::Array(Kind::Json),
            1021 => Self::Array(Kind::Float4),
            1022 => Self::Array(Kind::Float8),
            1182 => Self::Array(Kind::Date),
            1183 => Self::Array(Kind::Time),
            1115 => Self::Array(Kind::Timestamp),
            1185 => Self::Array(Kind::TimestampTz),
            1270 => Self::Array(Kind::TimeTz),
            1231 => Self::Array(Kind::Numeric),
            2951 => Self::Array(Kind::Uuid),
            // Arrays of built-in types that are text here, and whose elements a comma parts: of `box` it is a semicolon.
            1009 | 1015 | 1014 | 1003 | 1002 // text, varchar, bpchar, name, "char"
            | 1187 | 791 | 1041 | 651 | 1040 | 775 // interval, money, inet, cidr, macaddr, macaddr8
            | 1561 | 1563 | 143 | 4073 | 3643 | 3645 // bit, varbit, xml, jsonpath, tsvector, tsquery
            | 1011 | 271 | 3221 // xid, xid8, pg_lsn
            // int4range, int8range, numrange, tsrange, tstzrange, daterange
            | 3905 | 3927 | 3907 | 3909 | 3911 | 3913 => Self::Array(Kind::Text),
            _ => Self::Single(Kind::Text),
        }
    }
}
