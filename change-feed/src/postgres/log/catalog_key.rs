//! The key of a table as the catalogue has it, for rows that the log does not mark.

use postgres_replication::pgoutput::Relation;

/// The columns of a table in their order, as the catalogue has them now, and which of them are its primary key.
#[derive(Debug, Clone)]
pub(super) struct CatalogKey {
    pub(super) columns: Vec<CatalogColumn>,
    /// Whether the table has ever had a column that it has not any more.
    pub(super) dropped: bool,
}

#[derive(Debug, Clone)]
pub(super) struct CatalogColumn {
    pub(super) name: String,
    pub(super) type_oid: u32,
    pub(super) is_key: bool,
}

impl CatalogKey {
    /// Which columns of the table were its key when the log described it so; `None` if that can't be told.
    ///
    /// The description may be older than the catalogue. Columns are known by their names; and of a table that never lost a
    /// column, where one is only ever added at the end, by their places: there a column may have had another name.
    pub(super) fn places_in(&self, relation: &Relation) -> Option<Vec<usize>> {
        let mut keys = self.columns.iter().enumerate().filter(|(_, column)| column.is_key).peekable();
        keys.peek()?;
        let by_name = keys.clone().map(|(_, key)| relation.columns.iter().position(|column| column.name == key.name));
        if let Some(places) = by_name.collect() {
            return Some(places);
        }
        let places: Vec<usize> = keys.map(|(place, _)| place).collect();
        let is_all_there = places.iter().all(|place| *place < relation.columns.len());
        (!self.dropped && is_all_there && self.is_later_than(relation)).then_some(places)
    }

    /// Whether the table can have become what it is by renaming columns and adding some.
    fn is_later_than(&self, relation: &Relation) -> bool {
        let is_called_now = |name: &str| self.columns.iter().any(|column| column.name == name);
        let mut both = relation.columns.iter().zip(&self.columns);
        relation.columns.len() <= self.columns.len()
            && both
                .all(|(then, now)| then.name == now.name || then.type_oid == now.type_oid && !is_called_now(&then.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_replication::pgoutput::{Column, ReplicaIdentity};

    const INT8: u32 = 20;
    const TEXT: u32 = 25;

    fn relation(columns: &[(&str, u32)]) -> Relation {
        let column = |&(name, type_oid): &(&str, u32)| Column {
            is_key: true,
            name: name.to_owned(),
            type_oid,
            type_modifier: -1,
        };
        Relation {
            oid: 1,
            schema: "public".to_owned(),
            name: "t".to_owned(),
            replica_identity: ReplicaIdentity::Full,
            columns: columns.iter().map(column).collect(),
        }
    }

    fn catalog(columns: &[(&str, u32)], keys: &[&str]) -> CatalogKey {
        let column = |&(name, type_oid): &(&str, u32)| CatalogColumn {
            name: name.to_owned(),
            type_oid,
            is_key: keys.contains(&name),
        };
        CatalogKey { columns: columns.iter().map(column).collect(), dropped: false }
    }

    #[test]
    fn a_key_is_known_by_its_name_wherever_it_stands() {
        let then = relation(&[("gone", TEXT), ("id", INT8), ("sku", TEXT)]);
        let now =
            CatalogKey { dropped: true, ..catalog(&[("id", INT8), ("sku", TEXT), ("new", TEXT)], &["id", "sku"]) };
        assert_eq!(now.places_in(&then), Some(vec![1, 2]));
    }

    #[test]
    fn a_key_that_was_renamed_is_known_by_its_place_if_no_column_was_ever_dropped() {
        let then = relation(&[("a", TEXT), ("k", INT8), ("b", TEXT)]);
        let now = catalog(&[("a", TEXT), ("id", INT8), ("b", TEXT), ("c", TEXT)], &["id"]);
        assert_eq!(now.places_in(&then), Some(vec![1]));
        assert_eq!(CatalogKey { dropped: true, ..now }.places_in(&then), None);
    }

    #[test]
    fn a_key_that_can_be_another_column_is_not_guessed() {
        let then = relation(&[("a", INT8), ("k", INT8)]);
        for (now, why) in [
            (catalog(&[("a", INT8), ("id", TEXT)], &["id"]), "another type"),
            (catalog(&[("id", INT8), ("a", INT8)], &["id"]), "the place of a column that has another one now"),
            (catalog(&[("id", INT8)], &["id"]), "fewer columns, as a publication's list leaves them"),
            (catalog(&[("a", INT8), ("k", INT8), ("id", INT8)], &["id"]), "it was added later"),
            (catalog(&[("a", INT8), ("k", INT8)], &[]), "no key"),
        ] {
            assert_eq!(now.places_in(&then), None, "{why}");
        }
    }
}
