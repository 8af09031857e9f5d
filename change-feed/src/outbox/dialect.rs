//! The databases, and how each writes a name.

/// A database that the guard supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// PostgreSQL 14 and above.
    Postgres,
    /// SQLite 3.38 and above, with `foreign_keys=ON`.
    Sqlite,
}

/// Words that a database reserves and that people use as names. If a reserved word is missing here, the database refuses
/// the script; the meaning of a script never changes.
const RESERVED: &str = "\
    all analyse analyze and any array as asc between both case cast check collate column commit constraint \
    create default deferrable delete desc distinct do drop else end escape except exists false fetch for foreign \
    from grant group having in index initially insert intersect into is isnull join lateral leading left like \
    limit natural not notnull null offset on only or order placing primary references returning right select set \
    some table then to trailing transaction true union unique update user using values when where window with";

/// Writes a name for a statement: quoted only where it must be.
pub(crate) fn identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.split_whitespace().any(|reserved| reserved == name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Writes a text for a statement, in quotes.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_stays_bare_and_any_other_is_quoted() {
        assert_eq!(identifier("invoices"), "invoices");
        assert_eq!(identifier("order"), "\"order\"");
        assert_eq!(identifier("Invoices"), "\"Invoices\"");
        assert_eq!(identifier("odd\"name"), "\"odd\"\"name\"");
        assert_eq!(identifier("2nd"), "\"2nd\"");
        assert_eq!(identifier(""), "\"\"");
    }

    #[test]
    fn a_text_cannot_end_its_literal() {
        assert_eq!(literal("can't"), "'can''t'");
    }
}
