//! Quotes names and texts for statements.

use crate::error::ReplicationError;

/// NAMEDATALEN - 1.
const NAME_BYTES_MAX: usize = 63;

/// Quotes the name of a replication slot with double quotes. PostgreSQL allows lower-case letters, digits and
/// underscores only.
pub(super) fn slot_name(name: &str) -> Result<String, ReplicationError> {
    let spelled = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !spelled {
        return Err(ReplicationError::unusable(format!(
            "{name:?} is not a valid name of a replication slot; use 1 to {NAME_BYTES_MAX} characters of a-z, 0-9 and _"
        )));
    }
    Ok(format!("\"{name}\""))
}

/// Writes the list of publications as pgoutput's option expects it: identifiers in double quotes, separated by commas.
pub(super) fn publication_names(names: &[String]) -> Result<String, ReplicationError> {
    if names.is_empty() {
        return Err(ReplicationError::unusable("no publication was named; name at least one"));
    }
    let mut list = String::new();
    for name in names {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
            return Err(ReplicationError::unusable(format!(
                "{name:?} is not a valid name of a publication; use 1 to {NAME_BYTES_MAX} bytes without a zero byte"
            )));
        }
        if !list.is_empty() {
            list.push(',');
        }
        list.push('"');
        list.push_str(&name.replace('"', "\"\""));
        list.push('"');
    }
    Ok(list)
}

/// Quotes a text with single quotes, for replication commands and for SQL with `standard_conforming_strings` on, where
/// a backslash is an ordinary character.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_name_with_other_characters_is_refused() {
        for name in ["", "Orders", "a-b", "a b", "a\"b", "a'b", "ä", &"a".repeat(64)] {
            assert!(slot_name(name).is_err(), "{name:?}");
        }
        assert_eq!(slot_name("orders_1").expect("a name"), "\"orders_1\"");
    }

    #[test]
    fn names_of_publications_may_hold_quotes_and_commas() {
        let names = ["plain", "with \"quotes\"", "and,comma", "it's"].map(str::to_owned);
        let list = publication_names(&names).expect("names");
        assert_eq!(list, "\"plain\",\"with \"\"quotes\"\"\",\"and,comma\",\"it's\"");
        assert!(literal(&list).contains("it''s"));
    }

    #[test]
    fn no_publication_and_one_without_a_name_are_refused() {
        assert!(publication_names(&[]).is_err());
        assert!(publication_names(&[String::new()]).is_err());
        assert!(publication_names(&["a\0b".to_owned()]).is_err());
    }
}
