//! An encoder: a message as a server would send it. The fuzz target `pgoutput` uses it too.

use postgres_replication::Lsn;
use postgres_replication::pgoutput::{
    Begin, Commit, Datum, LogicalMessage, Message, OldTuple, Origin, Relation, ReplicaIdentity, Tuple, Type,
};

/// A message that owns what it says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sent {
    Begin(Begin),
    Commit(Commit),
    Origin { commit_lsn: Lsn, name: String },
    Relation(Relation),
    Type { oid: u32, schema: String, name: String },
    Insert { relation_oid: u32, new: Row },
    Update { relation_oid: u32, old: Option<Old>, new: Row },
    Delete { relation_oid: u32, old: Old },
    Truncate { relations: Vec<u32>, cascade: bool, restart_identity: bool },
    Logical { transactional: bool, lsn: Lsn, prefix: String, content: Vec<u8> },
}

pub(crate) type Row = Vec<SentDatum>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SentDatum {
    Null,
    Unchanged,
    Text(Vec<u8>),
    Binary(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Old {
    Key(Row),
    Row(Row),
}

impl Sent {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Begin(Begin { final_lsn, committed_at, xid }) => {
                out.push(b'B');
                out.extend(final_lsn.as_u64().to_be_bytes());
                out.extend(committed_at.as_us().to_be_bytes());
                out.extend(xid.to_be_bytes());
            }
            Self::Commit(Commit { commit_lsn, end_lsn, committed_at }) => {
                out.extend([b'C', 0]);
                out.extend(commit_lsn.as_u64().to_be_bytes());
                out.extend(end_lsn.as_u64().to_be_bytes());
                out.extend(committed_at.as_us().to_be_bytes());
            }
            Self::Origin { commit_lsn, name } => {
                out.push(b'O');
                out.extend(commit_lsn.as_u64().to_be_bytes());
                text(name, &mut out);
            }
            Self::Relation(sent) => relation(sent, &mut out),
            Self::Type { oid, schema, name } => {
                out.push(b'Y');
                out.extend(oid.to_be_bytes());
                text(if schema == "pg_catalog" { "" } else { schema }, &mut out);
                text(name, &mut out);
            }
            Self::Insert { relation_oid, new } => {
                out.push(b'I');
                out.extend(relation_oid.to_be_bytes());
                row(b'N', new, &mut out);
            }
            Self::Update { relation_oid, old, new } => {
                out.push(b'U');
                out.extend(relation_oid.to_be_bytes());
                if let Some(old) = old {
                    old_row(old, &mut out);
                }
                row(b'N', new, &mut out);
            }
            Self::Delete { relation_oid, old } => {
                out.push(b'D');
                out.extend(relation_oid.to_be_bytes());
                old_row(old, &mut out);
            }
            Self::Truncate { relations, cascade, restart_identity } => {
                out.push(b'T');
                out.extend((relations.len() as u32).to_be_bytes());
                out.push(u8::from(*cascade) | u8::from(*restart_identity) << 1);
                relations.iter().for_each(|oid| out.extend(oid.to_be_bytes()));
            }
            Self::Logical { transactional, lsn, prefix, content } => {
                out.extend([b'M', u8::from(*transactional)]);
                out.extend(lsn.as_u64().to_be_bytes());
                text(prefix, &mut out);
                value(content, &mut out);
            }
        }
        out
    }
}

fn relation(sent: &Relation, out: &mut Vec<u8>) {
    out.push(b'R');
    out.extend(sent.oid.to_be_bytes());
    text(if sent.schema == "pg_catalog" { "" } else { &sent.schema }, out);
    text(&sent.name, out);
    out.push(match sent.replica_identity {
        ReplicaIdentity::Default => b'd',
        ReplicaIdentity::Nothing => b'n',
        ReplicaIdentity::Full => b'f',
        ReplicaIdentity::Index => b'i',
    });
    out.extend((sent.columns.len() as u16).to_be_bytes());
    for column in &sent.columns {
        out.push(u8::from(column.is_key));
        text(&column.name, out);
        out.extend(column.type_oid.to_be_bytes());
        out.extend(column.type_modifier.to_be_bytes());
    }
}

fn old_row(old: &Old, out: &mut Vec<u8>) {
    match old {
        Old::Key(key) => row(b'K', key, out),
        Old::Row(whole) => row(b'O', whole, out),
    }
}

fn row(tag: u8, row: &Row, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend((row.len() as u16).to_be_bytes());
    for datum in row {
        match datum {
            SentDatum::Null => out.push(b'n'),
            SentDatum::Unchanged => out.push(b'u'),
            SentDatum::Text(bytes) => {
                out.push(b't');
                value(bytes, out);
            }
            SentDatum::Binary(bytes) => {
                out.push(b'b');
                value(bytes, out);
            }
        }
    }
}

fn value(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

impl From<&Message<'_>> for Sent {
    fn from(message: &Message<'_>) -> Self {
        match message {
            Message::Begin(begin) => Self::Begin(*begin),
            Message::Commit(commit) => Self::Commit(*commit),
            Message::Origin(Origin { commit_lsn, name }) => {
                Self::Origin { commit_lsn: *commit_lsn, name: (*name).to_owned() }
            }
            Message::Relation(relation) => Self::Relation(relation.clone()),
            Message::Type(Type { oid, schema, name }) => {
                Self::Type { oid: *oid, schema: (*schema).to_owned(), name: (*name).to_owned() }
            }
            Message::Insert(insert) => Self::Insert { relation_oid: insert.relation_oid, new: owned(insert.new) },
            Message::Update(update) => Self::Update {
                relation_oid: update.relation_oid,
                old: update.old.map(owned_old),
                new: owned(update.new),
            },
            Message::Delete(delete) => Self::Delete { relation_oid: delete.relation_oid, old: owned_old(delete.old) },
            Message::Truncate(truncate) => Self::Truncate {
                relations: truncate.relations.collect(),
                cascade: truncate.cascade,
                restart_identity: truncate.restart_identity,
            },
            Message::Logical(LogicalMessage { transactional, lsn, prefix, content }) => Self::Logical {
                transactional: *transactional,
                lsn: *lsn,
                prefix: (*prefix).to_owned(),
                content: content.to_vec(),
            },
        }
    }
}

fn owned(tuple: Tuple<'_>) -> Row {
    assert_eq!(tuple.columns().len(), tuple.len());
    let row: Row = tuple
        .into_iter()
        .map(|datum| match datum {
            Datum::Null => SentDatum::Null,
            Datum::Unchanged => SentDatum::Unchanged,
            Datum::Text(bytes) => SentDatum::Text(bytes.to_vec()),
            Datum::Binary(bytes) => SentDatum::Binary(bytes.to_vec()),
        })
        .collect();
    assert_eq!(row.len(), tuple.len(), "the iterator keeps what the count says");
    row
}

fn owned_old(old: OldTuple<'_>) -> Old {
    match old {
        OldTuple::Key(tuple) => Old::Key(owned(tuple)),
        OldTuple::Row(tuple) => Old::Row(owned(tuple)),
    }
}
