//! Whether a table can be captured: its application's writes go on, every change is in the stream, and the key is whole.

use super::catalog_table::{CapturedTable, CatalogTable, Identity};
use super::publication::{Publication, PublishedTable, check_outbox};
use super::selection::Selection;
use crate::postgres::mismatch::unfit;
use crate::source::SourceError;

/// From this version on a replica identity that holds a generated column which is not published makes updates fail.
const GENERATED_IDENTITY_SINCE: i32 = 180_000;

/// Checks every captured table: `publication` is the one that publishes it, or that will be made.
pub(super) fn check_tables(
    selection: &Selection,
    found: &[CapturedTable],
    publication: &Publication,
    version: i32,
) -> Result<(), SourceError> {
    for name in selection.published() {
        let Some(captured) = found.iter().find(|captured| captured.table.name == name) else {
            return Err(unfit(
                format!("there is no table {name} in this database"),
                "install it (an outbox: see change_feed::outbox::Guard), or name the right database and table",
            ));
        };
        check_logged(&captured.table)?;
        for descendant in &captured.descendants {
            check_descendant(selection, &captured.table, descendant)?;
        }
        let whole = PublishedTable { name: name.clone(), columns: None, filter_columns: None };
        let published = Published {
            entry: publication.table(&name).unwrap_or(&whole),
            stored_generated: publication.stored_generated,
            version,
        };
        if let Some(outbox) = selection.outbox(&name.schema, &name.name) {
            check_outbox(published.entry, outbox.key_column())?;
        }
        if publication.updates || publication.deletes {
            for table in captured.family().filter(|table| table.stores_rows()) {
                published.check_writes_go_on(table)?;
            }
        }
        if selection.has_rows_of(&name.schema, &name.name) {
            for table in captured.family().filter(|table| captured.is_part(table)) {
                published.check_key(table)?;
                check_same_identity(&captured.table, table)?;
            }
        }
    }
    Ok(())
}

fn check_logged(table: &CatalogTable) -> Result<(), SourceError> {
    if matches!(table.kind.as_str(), "r" | "p") && table.persistence == "p" {
        return Ok(());
    }
    Err(unfit(
        format!("{} is no ordinary table with a log of its changes", table.name),
        "name a table that is neither temporary, unlogged nor foreign",
    ))
}

/// Checks that the rows of a partition or of an inheriting table come with those of the captured table.
fn check_descendant(selection: &Selection, table: &CatalogTable, descendant: &CatalogTable) -> Result<(), SourceError> {
    let (name, own) = (&table.name, &descendant.name);
    if !descendant.is_partition {
        if selection.published().contains(own) {
            return Ok(());
        }
        return Err(unfit(
            format!(
                "{own} inherits from {name}: the server publishes its rows under its own name, not as rows of {name}"
            ),
            format!(
                "capture {own} as well, or let its owner run: alter table {} no inherit {};",
                own.quoted(),
                name.quoted()
            ),
        ));
    }
    if matches!(descendant.kind.as_str(), "r" | "p") && descendant.persistence == "p" {
        return Ok(());
    }
    Err(unfit(
        format!("{own}, a partition of {name}, is foreign or unlogged: its changes are not in the log"),
        format!(
            "let its owner detach it, or make it an ordinary logged table: alter table {} set logged;",
            own.quoted()
        ),
    ))
}

/// Checks that a partition identifies its rows as its root does: PostgreSQL describes the rows of all partitions with the
/// root's replica identity, and writes of each row before a change what the partition's own identity holds.
fn check_same_identity(root: &CatalogTable, partition: &CatalogTable) -> Result<(), SourceError> {
    let is_full = |table: &CatalogTable| table.identity == Identity::Full;
    if root.key == partition.key && is_full(root) == is_full(partition) {
        return Ok(());
    }
    Err(unfit(
        format!(
            "{} and its partition {} have different replica identities: the log would show one row under two keys",
            root.name, partition.name
        ),
        format!(
            "let their owner give both the same one: alter table {} replica identity {4}; alter table {} replica identity \
             {4}; ({2}: {3})",
            root.name.quoted(),
            partition.name.quoted(),
            root.name,
            columns(&root.key),
            if is_full(root) { "full" } else { "default" },
        ),
    ))
}

/// What of a table is published.
struct Published<'a> {
    entry: &'a PublishedTable,
    /// Whether stored generated columns without a place in a list are.
    stored_generated: bool,
    version: i32,
}

impl Published<'_> {
    /// Whether a column of the table is published.
    fn has(&self, table: &CatalogTable, column: &str) -> bool {
        let is_in = |names: &[String]| names.iter().any(|name| name == column);
        match &self.entry.columns {
            Some(list) => is_in(list),
            None => !is_in(&table.virtual_generated) && (self.stored_generated || !is_in(&table.stored_generated)),
        }
    }

    /// Checks that PostgreSQL accepts updates and deletes of the table while they are published.
    fn check_writes_go_on(&self, table: &CatalogTable) -> Result<(), SourceError> {
        let name = &table.name;
        let fails = "its updates and deletes would fail while it is published";
        if table.identity == Identity::Nothing {
            return Err(unfit(
                format!("{name} has the replica identity nothing: {fails}"),
                format!("let its owner run: alter table {} replica identity default;", name.quoted()),
            ));
        }
        if table.identity == Identity::Full {
            if self.entry.columns.is_some() {
                return Err(unfit(
                    format!("{name} has the replica identity full, and is published with a list of columns: {fails}"),
                    format!("let its owner run: alter table {} replica identity default;", name.quoted()),
                ));
            }
            let mut generated = table.stored_generated.iter().chain(&table.virtual_generated);
            let unpublished = generated.find(|column| !self.has(table, column));
            if let Some(column) = unpublished.filter(|_| self.version >= GENERATED_IDENTITY_SINCE) {
                return Err(unfit(
                    format!(
                        "{name} has the replica identity full and the generated column {column}, which is not published: \
                         {fails}"
                    ),
                    format!("let its owner run: alter table {} replica identity default;", name.quoted()),
                ));
            }
            return Ok(());
        }
        if table.key.is_empty() {
            return Err(no_key(table, fails));
        }
        self.check_key(table)?;
        let filter = self.entry.filter_columns.as_deref().unwrap_or_default();
        match filter.iter().find(|column| !table.key.contains(column)) {
            Some(column) => Err(unfit(
                format!("the row filter of {name} reads {column}, which is not in its replica identity: {fails}"),
                format!(
                    "let its owner filter by {} alone, or run: alter table {} replica identity full;",
                    columns(&table.key),
                    name.quoted()
                ),
            )),
            None => Ok(()),
        }
    }

    /// Checks that each record can carry the whole key of its row.
    fn check_key(&self, table: &CatalogTable) -> Result<(), SourceError> {
        let name = &table.name;
        if table.key.is_empty() {
            return Err(no_key(table, "its rows could not be told apart"));
        }
        match table.key.iter().find(|column| !self.has(table, column)) {
            Some(column) => Err(unfit(
                format!("the key of {name} is {}, and its column {column} is not published", columns(&table.key)),
                "let its owner publish the whole key: take the column into the publication's list, and no generated column \
                 into the key",
            )),
            None => Ok(()),
        }
    }
}

fn no_key(table: &CatalogTable, fails: &str) -> SourceError {
    let name = &table.name;
    if table.has_deferrable_key {
        return unfit(
            format!(
                "{name} has no key that identifies its rows at each statement, since its primary key is deferrable: {fails}"
            ),
            format!(
                "let its owner make the primary key not deferrable, or choose a unique index that is not: alter table {} \
                 replica identity using index …;",
                name.quoted()
            ),
        );
    }
    unfit(
        format!("{name} has no key, neither a primary key nor a valid index as its replica identity: {fails}"),
        format!("give {name} a primary key, or leave it out of the feed"),
    )
}

fn columns(names: &[String]) -> String {
    format!("({})", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::mismatch::Mismatch;
    use crate::postgres::log::selection::TableName;

    fn table(name: &str, identity: Identity, key: &[&str]) -> CatalogTable {
        CatalogTable {
            name: TableName { schema: "public".to_owned(), name: name.to_owned() },
            oid: 1,
            kind: "r".to_owned(),
            persistence: "p".to_owned(),
            is_partition: false,
            identity,
            key: key.iter().map(|column| (*column).to_owned()).collect(),
            has_deferrable_key: false,
            stored_generated: Vec::new(),
            virtual_generated: Vec::new(),
        }
    }

    fn checked(table: CatalogTable, version: i32) -> Result<(), String> {
        let selection = Selection { tables: vec![table.name.clone()], ..Selection::default() };
        let publication = Publication::to_be_made(&selection);
        let found = [CapturedTable { table, descendants: Vec::new() }];
        check_tables(&selection, &found, &publication, version).map_err(|error| match error {
            SourceError::Closed(Mismatch::SourceUnfit { what, .. }) => what,
            other => panic!("{other}"),
        })
    }

    #[test]
    fn a_full_identity_over_a_generated_column_is_refused_where_the_server_refuses_the_writes() {
        let full = CatalogTable { stored_generated: vec!["sum".to_owned()], ..table("t", Identity::Full, &["id"]) };
        assert_eq!(checked(full.clone(), 170_004), Ok(()));
        assert!(checked(full, 180_001).is_err_and(|what| what.contains("generated column sum")));
    }

    #[test]
    fn a_key_with_a_column_that_is_not_published_is_refused_on_every_version() {
        let keyed = CatalogTable {
            stored_generated: vec!["part".to_owned()],
            ..table("t", Identity::PrimaryKey, &["id", "part"])
        };
        for version in [140_000, 180_000] {
            assert!(checked(keyed.clone(), version).is_err_and(|what| what.contains("column part is not published")));
        }
        assert_eq!(checked(table("t", Identity::PrimaryKey, &["id"]), 140_000), Ok(()));
    }
}
