//! A publication: what it is, and what it must hold.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::selection::{Selection, TableName, quoted};
use crate::feed::identity::FeedName;
use crate::postgres::mismatch::unfit;
use crate::postgres::server::Server;
use crate::source::SourceError;

/// A column list on an outbox must hold these.
const OUTBOX_COLUMNS: [&str; 6] = ["event_id", "version", "event_type", "payload", "occurred_at", "traceparent"];

/// A publication.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    /// Its object id, which another one of the same name does not have.
    pub(super) oid: u32,
    pub(super) inserts: bool,
    pub(super) updates: bool,
    pub(super) deletes: bool,
    pub(super) truncates: bool,
    /// Whether it publishes the generated columns that are stored (PostgreSQL 18).
    pub(super) stored_generated: bool,
    pub(super) comment: Option<String>,
    /// The captured tables that it publishes under their own names.
    pub(super) tables: Vec<PublishedTable>,
}

/// A captured table of a publication.
#[derive(Debug, Clone)]
pub(super) struct PublishedTable {
    pub(super) name: TableName,
    /// The columns of its list; `None` where the publication has no list for it.
    pub(super) columns: Option<Vec<String>>,
    /// The columns that its row filter reads; `None` where it has no filter.
    pub(super) filter_columns: Option<Vec<String>>,
}

impl Publication {
    /// Reads the publication of this name, as far as the tables of these names are concerned.
    ///
    /// It reads nothing but the catalogue. The view `pg_publication_tables` opens each table from PostgreSQL 16 on, and so waits
    /// for any lock on one of them.
    pub(super) async fn read(
        server: &Server,
        connection: &mut PgConnection,
        version: i32,
        name: &str,
        tables: &[TableName],
    ) -> Result<Option<Self>, SourceError> {
        let generated = if version >= 180_000 { "pubgencols::text = 's'" } else { "false" };
        let publication = format!(
            "select oid::bigint, pubinsert, pubupdate, pubdelete, pubtruncate, {generated},
                obj_description(oid, 'pg_publication')
            from pg_catalog.pg_publication where pubname = $1"
        );
        let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        server
            .answer(async {
                let row = sqlx::query(AssertSqlSafe(publication)).bind(name).fetch_optional(&mut *connection).await?;
                let Some(row) = row else {
                    return Ok(None);
                };
                let published = sqlx::query(AssertSqlSafe(published_tables(version)));
                let rows = published.bind(name).bind(schemas).bind(names).fetch_all(connection).await?;
                let oid: i64 = row.try_get(0)?;
                Ok(Some(Self {
                    oid: u32::try_from(oid).map_err(|error| sqlx::Error::Decode(error.into()))?,
                    inserts: row.try_get(1)?,
                    updates: row.try_get(2)?,
                    deletes: row.try_get(3)?,
                    truncates: row.try_get(4)?,
                    stored_generated: row.try_get(5)?,
                    comment: row.try_get(6)?,
                    tables: rows.iter().map(PublishedTable::from_row).collect::<Result<_, sqlx::Error>>()?,
                }))
            })
            .await
    }

    /// The publication as the feed would make it.
    pub(super) fn to_be_made(selection: &Selection) -> Self {
        let rows = !selection.tables.is_empty();
        let table = |name| PublishedTable { name, columns: None, filter_columns: None };
        Self {
            oid: 0,
            inserts: true,
            updates: rows,
            deletes: rows,
            truncates: rows,
            stored_generated: false,
            comment: None,
            tables: selection.published().into_iter().map(table).collect(),
        }
    }

    /// The entry of a table.
    pub(super) fn table(&self, name: &TableName) -> Option<&PublishedTable> {
        self.tables.iter().find(|table| table.name == *name)
    }

    /// Whether it publishes every kind of change of rows.
    pub(super) fn has_all_operations(&self) -> bool {
        self.inserts && self.updates && self.deletes && self.truncates
    }
}

impl PublishedTable {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let name = TableName { schema: row.try_get(0)?, name: row.try_get(1)? };
        Ok(Self { name, columns: row.try_get(2)?, filter_columns: row.try_get(3)? })
    }
}

/// The statement that finds which tables a publication publishes under their own names: itself, through an ancestor, through
/// its schema, or with all tables. With `publish_via_partition_root` a partition goes under the name of its topmost ancestor
/// in the publication; without it a partitioned table publishes nothing under its own name.
fn published_tables(version: i32) -> String {
    // Column lists, row filters and schemas came with PostgreSQL 15.
    let (columns, filter, by_schema) = if version >= 150_000 {
        (
            "case when r.prattrs is not null then array(select a.attname::text from pg_catalog.pg_attribute a
                where a.attrelid = up.ancestor and a.attnum = any (r.prattrs::int2[])) end",
            "case when r.prqual is not null then array(select distinct a.attname::text
                from regexp_matches(r.prqual::text, ':varattno (-?[0-9]+)', 'g') as read (number)
                join pg_catalog.pg_attribute a on a.attrelid = up.ancestor and a.attnum = read.number[1]::int) end",
            "or exists (select from pg_catalog.pg_publication_namespace s
                join pg_catalog.pg_class a on a.relnamespace = s.pnnspid where s.pnpubid = pub.oid and a.oid = up.ancestor)",
        )
    } else {
        ("null::text[]", "null::text[]", "")
    };
    format!(
        "with recursive pub as (select * from pg_catalog.pg_publication where pubname = $1),
        wanted as (
            select distinct c.oid, n.nspname, c.relname, c.relkind
            from unnest($2::text[], $3::text[]) as w (schema, name)
            join pg_catalog.pg_namespace n on n.nspname = w.schema
            join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name
        ),
        up (oid, ancestor, level) as (
            select oid, oid, 0 from wanted
            union all
            select up.oid, i.inhparent, up.level + 1 from up
            join pg_catalog.pg_class c on c.oid = up.ancestor and c.relispartition
            join pg_catalog.pg_inherits i on i.inhrelid = up.ancestor
        ),
        member as (
            select up.oid, up.level, {columns} as columns, {filter} as filter
            from up cross join pub
            left join pg_catalog.pg_publication_rel r on r.prpubid = pub.oid and r.prrelid = up.ancestor
            where pub.puballtables or r.oid is not null {by_schema}
        )
        select w.nspname::text, w.relname::text, m.columns, m.filter
        from wanted w cross join pub
        cross join lateral (select * from member where member.oid = w.oid order by level limit 1) m
        where case when pub.pubviaroot then not exists (select from member a where a.oid = w.oid and a.level > 0)
            else w.relkind <> 'p' end"
    )
}

/// What a publication lacks of what is captured.
pub(super) fn missing_tables(selection: &Selection, publication: &Publication) -> Vec<TableName> {
    selection.published().into_iter().filter(|name| publication.table(name).is_none()).collect()
}

/// Checks that a publication publishes every change of what is captured.
pub(super) fn check_publication(
    name: &str,
    selection: &Selection,
    publication: Option<&Publication>,
) -> Result<(), SourceError> {
    let name = quoted(name);
    let Some(publication) = publication else {
        return Err(unfit(
            format!("there is no publication {name} in this database"),
            format!("let the tables' owner run: {}", create_publication(&name, selection)),
        ));
    };
    if let Some(missing) = missing_tables(selection, publication).first() {
        return Err(unfit(
            format!(
                "the publication {name} does not publish {missing}; what was written to it meanwhile is not in the feed"
            ),
            format!(
                "let the table's owner run: alter publication {name} add table {}; (of a partitioned table also: alter \
                 publication {name} set (publish_via_partition_root = true);)",
                missing.quoted()
            ),
        ));
    }
    let rows = !selection.tables.is_empty();
    if !publication.inserts || rows && !publication.has_all_operations() {
        return Err(unfit(
            format!("the publication {name} leaves out inserts, updates, deletes or truncates"),
            format!("run: {}", publish_all_operations(&name)),
        ));
    }
    Ok(())
}

/// Checks that an outbox is published whole: a row that is left out is an event that is lost.
pub(super) fn check_outbox(table: &PublishedTable, key: &str) -> Result<(), SourceError> {
    let remedy =
        || "let its owner drop the table from the publication and add it again without a filter or a list".to_owned();
    if table.filter_columns.is_some() {
        return Err(unfit(format!("the publication filters the rows of the outbox {}", table.name), remedy()));
    }
    let Some(columns) = &table.columns else {
        return Ok(());
    };
    match OUTBOX_COLUMNS.iter().chain([&key]).find(|needed| !columns.iter().any(|column| column == **needed)) {
        Some(missing) => Err(unfit(
            format!("the publication leaves out the column {missing} of the outbox {}", table.name),
            remedy(),
        )),
        None => Ok(()),
    }
}

/// The statement that makes the publication.
///
/// Of outboxes alone inserts are enough, and an outbox without a replica identity can then still be pruned.
pub(super) fn create_publication(quoted_name: &str, selection: &Selection) -> String {
    let tables: Vec<String> = selection.published().iter().map(TableName::quoted).collect();
    let tables = if tables.is_empty() { String::new() } else { format!(" for table {}", tables.join(", ")) };
    let operations = if selection.tables.is_empty() { "publish = 'insert', " } else { "" };
    format!("create publication {quoted_name}{tables} with ({operations}publish_via_partition_root = true);")
}

/// The statement that makes a publication publish every kind of change.
pub(super) fn publish_all_operations(quoted_name: &str) -> String {
    format!("alter publication {quoted_name} set (publish = 'insert, update, delete, truncate');")
}

/// Separates what a feed captures from the object id of its publication, in the feed's table.
const PUBLICATION_MARK: &str = ", publication ";

/// What a feed captures, with the publication that it reads.
pub(super) fn with_publication(captures: &str, oid: u32) -> String {
    let captures = captures.split_once(PUBLICATION_MARK).map_or(captures, |(captures, _)| captures);
    format!("{captures}{PUBLICATION_MARK}{oid}")
}

/// The object id of the publication that the feed reads, if that has been recorded.
pub(super) fn publication_of(captures: &str) -> Option<u32> {
    captures.split_once(PUBLICATION_MARK)?.1.parse().ok()
}

/// The publication that a feed reads was dropped. `now` is what replaced it: what the feed's table would say.
pub(super) fn publication_was_dropped(name: &str, feed: &FeedName, now: Option<&str>) -> SourceError {
    let name = quoted(name);
    let adopt = now.map(|now| {
        format!(
            ". If nothing was, run: update change_feed.feeds set captures = '{}' where feed = '{feed}';",
            now.replace('\'', "''")
        )
    });
    unfit(
        match now {
            Some(_) => {
                format!("the publication {name} is not the one that the feed has read: it was dropped and made anew")
            }
            None => format!("the publication {name}, which the feed has read, was dropped"),
        },
        format!(
            "what was written to its tables while it was gone is not in the feed: start a feed under a new name{}",
            adopt.unwrap_or_default()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_feed_captures_names_its_publication_once() {
        assert_eq!(publication_of("slot orders"), None);
        let named = with_publication("slot orders", 16_401);
        assert_eq!((named.as_str(), publication_of(&named)), ("slot orders, publication 16401", Some(16_401)));
        assert_eq!(with_publication(&named, 7), "slot orders, publication 7");
    }
}
