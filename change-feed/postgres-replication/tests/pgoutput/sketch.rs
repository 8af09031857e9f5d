//! A message as one line of text that is the same on every server: without LSNs, times and ids.

use std::collections::BTreeMap;

use postgres_replication::pgoutput::{Datum, Message, OldTuple, Relation, Tuple};

/// Names of the relations that were met.
#[derive(Default)]
pub(crate) struct Sketcher {
    names: BTreeMap<u32, String>,
}

impl Sketcher {
    pub(crate) fn learn(&mut self, relation: &Relation) {
        self.names.insert(relation.oid, relation.name.clone());
    }

    pub(crate) fn sketch(&mut self, message: &Message<'_>) -> String {
        match message {
            Message::Begin(_) => "begin".to_owned(),
            Message::Commit(_) => "commit".to_owned(),
            // The names of origins are unique in a server: those of the tests have a tail.
            Message::Origin(origin) => {
                format!("origin {} {}", origin.name.split('_').next().unwrap_or_default(), origin.commit_lsn)
            }
            Message::Relation(relation) => {
                self.learn(relation);
                let columns: Vec<String> = relation
                    .columns
                    .iter()
                    .map(|column| format!("{}{}", column.name, if column.is_key { "*" } else { "" }))
                    .collect();
                format!(
                    "relation {}.{} {:?} ({})",
                    relation.schema,
                    relation.name,
                    relation.replica_identity,
                    columns.join(", ")
                )
            }
            Message::Type(of_type) => format!("type {}.{}", of_type.schema, of_type.name),
            Message::Insert(insert) => format!("insert {} {}", self.name(insert.relation_oid), row(insert.new)),
            Message::Update(update) => {
                let old = update.old.as_ref().map(|old| format!("{} -> ", old_row(old))).unwrap_or_default();
                format!("update {} {old}{}", self.name(update.relation_oid), row(update.new))
            }
            Message::Delete(delete) => {
                format!("delete {} {}", self.name(delete.relation_oid), old_row(&delete.old))
            }
            Message::Truncate(truncate) => {
                let mut names: Vec<&str> = truncate.relations.map(|oid| self.name(oid)).collect();
                names.sort_unstable();
                let cascade = if truncate.cascade { " cascade" } else { "" };
                let restart = if truncate.restart_identity { " restart identity" } else { "" };
                format!("truncate {}{cascade}{restart}", names.join(", "))
            }
            Message::Logical(message) => format!(
                "message {}{} {}",
                if message.transactional { "" } else { "at once " },
                message.prefix,
                content(message.content)
            ),
        }
    }

    fn name(&self, oid: u32) -> &str {
        self.names.get(&oid).map_or("?", String::as_str)
    }
}

fn old_row(old: &OldTuple<'_>) -> String {
    match old {
        OldTuple::Key(key) => format!("key {}", row(*key)),
        OldTuple::Row(whole) => format!("old {}", row(*whole)),
    }
}

fn row(tuple: Tuple<'_>) -> String {
    let columns: Vec<String> = tuple
        .into_iter()
        .map(|datum| match datum {
            Datum::Null => "null".to_owned(),
            Datum::Unchanged => "unchanged".to_owned(),
            Datum::Text(text) => content(text),
            Datum::Binary(bytes) => format!("binary {}", content(bytes)),
        })
        .collect();
    format!("({})", columns.join(", "))
}

/// In quotes; the length alone, if it is long.
fn content(bytes: &[u8]) -> String {
    if bytes.len() > 60 { format!("{} bytes", bytes.len()) } else { format!("'{}'", bytes.escape_ascii()) }
}
