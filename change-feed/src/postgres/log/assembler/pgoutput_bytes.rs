//! Writes messages as pgoutput sends them, for tests.

use bytes::{BufMut as _, Bytes};

/// The distance between the begins of commit records.
pub(super) const STEP: u64 = 0x100;
/// The length of a commit record.
pub(super) const COMMIT_BYTES: u64 = 0x30;

/// A value of a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Null,
    Unchanged,
    Text(&'a str),
}

use Value::{Null, Text, Unchanged};

fn message(tag: u8, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = vec![tag];
    write(&mut bytes);
    bytes.into()
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.put_slice(text.as_bytes());
    bytes.put_u8(0);
}

fn row(bytes: &mut Vec<u8>, values: &[Value<'_>]) {
    bytes.put_u16(u16::try_from(values.len()).expect("a few columns"));
    for value in values {
        match value {
            Null => bytes.put_u8(b'n'),
            Unchanged => bytes.put_u8(b'u'),
            Text(value) => {
                bytes.put_u8(b't');
                bytes.put_u32(u32::try_from(value.len()).expect("a short text"));
                bytes.put_slice(value.as_bytes());
            }
        }
    }
}

pub(super) fn begin(commit: u64, xid: u32) -> Bytes {
    message(b'B', |bytes| {
        bytes.put_u64(commit);
        bytes.put_i64(0);
        bytes.put_u32(xid);
    })
}

pub(super) fn commit(commit: u64) -> Bytes {
    message(b'C', |bytes| {
        bytes.put_u8(0);
        bytes.put_u64(commit);
        bytes.put_u64(commit + COMMIT_BYTES);
        bytes.put_i64(0);
    })
}

/// A table in the schema `public`; of each column its name and whether it is marked as key.
pub(super) fn relation(oid: u32, name: &str, identity: u8, columns: &[(&str, bool)]) -> Bytes {
    message(b'R', |bytes| {
        bytes.put_u32(oid);
        text(bytes, "public");
        text(bytes, name);
        bytes.put_u8(identity);
        bytes.put_u16(u16::try_from(columns.len()).expect("a few columns"));
        for (name, is_key) in columns {
            bytes.put_u8(u8::from(*is_key));
            text(bytes, name);
            bytes.put_u32(25);
            bytes.put_i32(-1);
        }
    })
}

pub(super) fn insert(oid: u32, new: &[Value<'_>]) -> Bytes {
    message(b'I', |bytes| {
        bytes.put_u32(oid);
        bytes.put_u8(b'N');
        row(bytes, new);
    })
}

/// `old` with its tag: `K` or `O`.
pub(super) fn update(oid: u32, old: Option<(u8, &[Value<'_>])>, new: &[Value<'_>]) -> Bytes {
    message(b'U', |bytes| {
        bytes.put_u32(oid);
        if let Some((tag, old)) = old {
            bytes.put_u8(tag);
            row(bytes, old);
        }
        bytes.put_u8(b'N');
        row(bytes, new);
    })
}

pub(super) fn delete(oid: u32, tag: u8, old: &[Value<'_>]) -> Bytes {
    message(b'D', |bytes| {
        bytes.put_u32(oid);
        bytes.put_u8(tag);
        row(bytes, old);
    })
}

pub(super) fn truncate(oids: &[u32]) -> Bytes {
    message(b'T', |bytes| {
        bytes.put_u32(u32::try_from(oids.len()).expect("a few tables"));
        bytes.put_u8(0);
        oids.iter().for_each(|oid| bytes.put_u32(*oid));
    })
}

pub(super) fn logical(transactional: bool, prefix: &str, content: &str) -> Bytes {
    message(b'M', |bytes| {
        bytes.put_u8(u8::from(transactional));
        bytes.put_u64(0x77);
        text(bytes, prefix);
        bytes.put_u32(u32::try_from(content.len()).expect("a short text"));
        bytes.put_slice(content.as_bytes());
    })
}
