//! Rows of the messages that servers sent: the corpus of `postgres-replication`.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use change_feed::feed::{Cell, InvalidRow, Row};
use postgres_replication::pgoutput::{Datum, Message, OldTuple, Tuple};

/// Each message, with the path of its file.
fn messages() -> Vec<(String, Vec<u8>)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("postgres-replication/tests/corpus/pgoutput");
    let releases = entries(&corpus).into_iter().filter(|path| path.is_dir());
    // `SKETCHES`, without an extension, says what the others are.
    let files = releases.flat_map(|release| entries(&release)).filter(|path| path.extension().is_some());
    files.map(|path| (path.display().to_string(), fs::read(&path).expect("a file"))).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    listed.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn a_row_can_be_kept_when_its_message_is_gone() {
    let (mut kept, mut binary) = (0, 0);
    for (name, bytes) in messages() {
        let message = Message::decode(&bytes).expect(&name);
        for tuple in tuples(&message) {
            match Row::from_tuple_data(Bytes::copy_from_slice(tuple.as_bytes())) {
                Ok(row) => {
                    let cells = row.cells().map(|cell| match cell {
                        Cell::Null => Datum::Null,
                        Cell::Unchanged => Datum::Unchanged,
                        Cell::Text(text) => Datum::Text(text.as_bytes()),
                        other => panic!("{name}: {other:?}"),
                    });
                    assert!(cells.eq(tuple.columns()), "{name}");
                    kept += 1;
                }
                Err(error) => {
                    assert_eq!(error, InvalidRow::Kind, "{name}");
                    assert!(tuple.columns().any(|datum| matches!(datum, Datum::Binary(_))), "{name}");
                    binary += 1;
                }
            }
        }
    }
    assert!(kept > 100 && binary > 0, "{kept} {binary}");
}

fn tuples<'a>(message: &Message<'a>) -> Vec<Tuple<'a>> {
    match message {
        Message::Insert(insert) => vec![insert.new],
        Message::Update(update) => update.old.iter().map(OldTuple::tuple).chain([update.new]).collect(),
        Message::Delete(delete) => vec![delete.old.tuple()],
        _ => Vec::new(),
    }
}
