//! What a server, its tables, the publication and the slot must be, so that nothing is lost in silence.

use super::captures::{Captures, TableName, quoted};
use super::facts::{PublicationFacts, PublishedTable, ServerFacts, SlotFacts, TableFacts};
use super::place::Place;
use super::source::LogicalSource;
use crate::feed::identity::FeedName;
use crate::feed::mismatch::Mismatch;
use crate::feed::position::Position;
use crate::source::SourceError;
use postgres_replication::Lsn;

/// The plug-in that this source reads.
pub(super) const PLUGIN: &str = "pgoutput";
/// A column list on an outbox must hold these.
const OUTBOX_COLUMNS: [&str; 6] = ["event_id", "version", "event_type", "payload", "occurred_at", "traceparent"];

/// Not set up as the feed needs it.
pub(super) fn unfit(what: impl Into<String>, remedy: impl Into<String>) -> SourceError {
    SourceError::Closed(Mismatch::SourceUnfit { what: what.into(), remedy: remedy.into() })
}

pub(super) fn check_server(facts: &ServerFacts) -> Result<(), SourceError> {
    if facts.version < 140_000 {
        return Err(unfit(
            format!("this server is PostgreSQL {}", facts.version / 10_000),
            "use PostgreSQL 14 or later",
        ));
    }
    if facts.in_recovery {
        return Err(unfit(
            "this server is a standby",
            "give the feed the address of the primary (target_session_attrs=read-write finds it)",
        ));
    }
    if facts.wal_level != "logical" {
        return Err(unfit(
            format!("the server's wal_level is {}, so its log can't be decoded", facts.wal_level),
            "let its administrator run: alter system set wal_level = logical; and restart the server",
        ));
    }
    if !facts.may_replicate {
        return Err(unfit(
            format!("the role {} may not replicate", quoted(&facts.role)),
            format!("let an administrator run: alter role {} replication;", quoted(&facts.role)),
        ));
    }
    Ok(())
}

/// Every captured table is there, is in the log, and has a key to tell its rows apart.
pub(super) fn check_tables(captures: &Captures, found: &[TableFacts]) -> Result<(), SourceError> {
    for name in captures.published() {
        let Some(table) = found.iter().find(|table| table.name == name) else {
            return Err(unfit(
                format!("there is no table {name} in this database"),
                "install it (an outbox: see change_feed::outbox::Guard), or name the right database and table",
            ));
        };
        if !matches!(table.kind.as_str(), "r" | "p") || table.persistence != "p" {
            return Err(unfit(
                format!("{name} is no ordinary table with a log of its changes"),
                "name a table that is neither temporary, unlogged nor foreign",
            ));
        }
        if captures.has_rows_of(&name.schema, &name.name) {
            check_identity(table)?;
        }
    }
    Ok(())
}

/// With a replica identity that gives no key, publishing would make the writers' updates fail.
fn check_identity(table: &TableFacts) -> Result<(), SourceError> {
    let name = &table.name;
    if table.replica_identity == "n" {
        return Err(unfit(
            format!(
                "{name} has the replica identity nothing: its updates and deletes would fail while it is published"
            ),
            format!("let its owner run: alter table {} replica identity default;", name.quoted()),
        ));
    }
    if table.key.is_empty() {
        return Err(unfit(
            format!("{name} has no key: neither a primary key nor the index of a replica identity"),
            format!("give {name} a primary key, or leave it out of the feed"),
        ));
    }
    Ok(())
}

/// What a publication lacks of what is captured.
pub(super) fn missing_tables(captures: &Captures, publication: &PublicationFacts) -> Vec<TableName> {
    let published = |name: &TableName| publication.tables.iter().any(|table| table.name == *name);
    captures.published().into_iter().filter(|name| !published(name)).collect()
}

pub(super) fn check_publication(
    name: &str,
    captures: &Captures,
    publication: Option<&PublicationFacts>,
) -> Result<(), SourceError> {
    let name = quoted(name);
    let Some(publication) = publication else {
        return Err(unfit(
            format!("there is no publication {name} in this database"),
            format!("let the tables' owner run: {}", create_publication(&name, captures)),
        ));
    };
    if let Some(missing) = missing_tables(captures, publication).first() {
        return Err(unfit(
            format!("the publication {name} does not publish {missing}"),
            format!(
                "let the table's owner run: alter publication {name} add table {}; (of a partitioned table also: alter \
                 publication {name} set (publish_via_partition_root = true);) What was written meanwhile is not in the feed",
                missing.quoted()
            ),
        ));
    }
    let rows = !captures.tables.is_empty();
    if !publication.inserts || rows && !(publication.updates && publication.deletes) {
        return Err(unfit(
            format!("the publication {name} leaves out inserts, updates or deletes"),
            format!("run: alter publication {name} set (publish = 'insert, update, delete, truncate');"),
        ));
    }
    for table in &publication.tables {
        if let Some(outbox) = captures.outbox(&table.name.schema, &table.name.name) {
            check_outbox(&name, table, outbox.key_column())?;
        }
    }
    Ok(())
}

/// What stands between what a feed captures and the object id of its publication, in the feed's table.
const PUBLICATION_MARK: &str = ", publication ";

/// What a feed captures, with the publication that it reads.
pub(super) fn with_publication(captures: &str, oid: u32) -> String {
    let captures = captures.split_once(PUBLICATION_MARK).map_or(captures, |(captures, _)| captures);
    format!("{captures}{PUBLICATION_MARK}{oid}")
}

/// The object id of the publication that the feed reads, if that has been written down.
pub(super) fn publication_of(captures: &str) -> Option<u32> {
    captures.split_once(PUBLICATION_MARK)?.1.parse().ok()
}

/// The publication that a feed reads was dropped. `now` is what stands in its place: what the feed's table would say.
pub(super) fn publication_was_dropped(name: &str, feed: &FeedName, now: Option<&str>) -> SourceError {
    let name = quoted(name);
    let anew = now.map(|now| {
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
            anew.unwrap_or_default()
        ),
    )
}

/// An outbox is published whole: a row that is left out is an event that is lost.
fn check_outbox(publication: &str, table: &PublishedTable, key: &str) -> Result<(), SourceError> {
    let anew =
        || format!("let its owner drop the table from {publication} and add it again without a filter or a list");
    if table.has_row_filter {
        return Err(unfit(
            format!("the publication {publication} filters the rows of the outbox {}", table.name),
            anew(),
        ));
    }
    let Some(columns) = &table.columns else {
        return Ok(());
    };
    match OUTBOX_COLUMNS.iter().chain([&key]).find(|needed| !columns.iter().any(|column| column == **needed)) {
        Some(missing) => Err(unfit(
            format!("the publication {publication} leaves out the column {missing} of the outbox {}", table.name),
            anew(),
        )),
        None => Ok(()),
    }
}

/// The statement that makes the publication.
pub(super) fn create_publication(quoted_name: &str, captures: &Captures) -> String {
    let tables: Vec<String> = captures.published().iter().map(TableName::quoted).collect();
    let tables = if tables.is_empty() { String::new() } else { format!(" for table {}", tables.join(", ")) };
    format!("create publication {quoted_name}{tables} with (publish_via_partition_root = true);")
}

/// Whether the slot is one that this feed can read.
pub(super) fn check_slot(name: &str, facts: &ServerFacts, slot: &SlotFacts) -> Result<(), SourceError> {
    let name = quoted(name);
    match slot.plugin.as_deref() {
        Some(PLUGIN) => {}
        other => {
            let what = other.map_or("for physical replication".to_owned(), |plugin| format!("of the plug-in {plugin}"));
            return Err(unfit(
                format!("the replication slot {name} is {what}"),
                format!("give the feed a slot of its own, of the plug-in {PLUGIN}"),
            ));
        }
    }
    if slot.database.as_deref() != Some(&facts.database) {
        let other = slot.database.as_deref().unwrap_or_default();
        return Err(unfit(
            format!("the replication slot {name} belongs to the database {other:?}, not to {:?}", facts.database),
            "give the feed a slot of its own, or the address of the other database",
        ));
    }
    Ok(())
}

/// Where the feed goes on in this slot, if the slot still gives everything behind its position.
pub(super) fn place_in(
    slot_name: &str,
    slot: Option<&SlotFacts>,
    facts: &ServerFacts,
    after: &Position,
) -> Result<Place, SourceError> {
    let name = quoted(slot_name);
    let gone = |detail: String| SourceError::Closed(Mismatch::SourceGone { position: after.clone(), detail });
    let Some(slot) = slot else {
        return Err(gone(format!("the replication slot {name} is missing")));
    };
    check_slot(slot_name, facts, slot)?;
    let lost = slot.wal_status.as_deref() == Some("lost");
    if let Some(reason) = slot.invalidated.as_deref().or(lost.then_some("its log was removed")) {
        return Err(gone(format!("the server invalidated the replication slot {name}: {reason}")));
    }
    let confirmed = slot.confirmed.ok_or_else(|| gone(format!("the replication slot {name} has no position")))?;
    if after.is_origin() {
        return Ok(Place::between(confirmed, facts.timeline));
    }
    let place = Place::from_position(after).ok_or_else(|| Mismatch::Differs {
        what: "kind of source",
        kept_by: crate::feed::mismatch::Side::Publisher,
        stored: format!("the one that made {after}"),
        found: LogicalSource::KIND.to_owned(),
    })?;
    if place.lsn > facts.flushed {
        let source_end = Place::between(facts.flushed, facts.timeline).position();
        return Err(SourceError::Closed(Mismatch::SourceBehind { position: after.clone(), source_end }));
    }
    if confirmed > place.lsn {
        return Err(gone(format!(
            "the replication slot {name} begins at {confirmed}, behind {}: it was made anew, or somebody else moved it",
            place.lsn
        )));
    }
    Ok(place)
}

/// Whether a timeline that the server came from left the feed's before the feed's position: `history` is the content of
/// the server's timeline history file.
///
/// Its lines are: the parent timeline, where it was left, and why (*Timelines* in PostgreSQL's documentation).
pub(super) fn left_before(history: &str, place: &Place) -> bool {
    let switches = history.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let timeline: u32 = words.next()?.parse().ok()?;
        Some((timeline, words.next()?.parse::<Lsn>().ok()?))
    });
    match switches.into_iter().find(|(timeline, _)| *timeline == place.timeline) {
        Some((_, left_at)) => left_at < place.lsn,
        // The server does not come from that timeline at all.
        None => true,
    }
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

    #[test]
    fn a_timeline_that_was_left_behind_the_position_is_the_feeds_own_past() {
        let history = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000000\tbefore 2026-11-23\n";
        let at = |timeline, lsn| Place::between(Lsn::new(lsn), timeline);
        assert!(!left_before(history, &at(1, 0x300_0000)));
        assert!(left_before(history, &at(1, 0x300_0001)));
        assert!(!left_before(history, &at(2, 0x4ff_ffff)));
        assert!(left_before(history, &at(7, 1)));
    }
}
