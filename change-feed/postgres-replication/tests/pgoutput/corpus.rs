//! What servers sent, kept in files: `tests/corpus/pgoutput`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use postgres_replication::pgoutput::{DecodeError, Message};

use crate::pgoutput::sent::Sent;
use crate::pgoutput::sketch::Sketcher;

/// The file that says what each of the others is.
const SKETCHES: &str = "SKETCHES";

/// What one release of PostgreSQL sent: by the names of the files.
struct Release {
    folder: PathBuf,
    messages: BTreeMap<String, Vec<u8>>,
}

fn releases() -> Vec<Release> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/pgoutput");
    let releases: Vec<Release> = entries(&corpus).into_iter().filter(|path| path.is_dir()).map(read).collect();
    assert_eq!(releases.len(), 4, "PostgreSQL 14, 15, 17 and 18");
    releases
}

fn read(folder: PathBuf) -> Release {
    let files = entries(&folder).into_iter().filter(|path| path.extension().is_some());
    let messages: BTreeMap<String, Vec<u8>> =
        files.map(|path| (file_name(&path), fs::read(&path).expect("a file"))).collect();
    assert!(messages.len() > 40, "{}: {} messages", folder.display(), messages.len());
    Release { folder, messages }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    listed.map(|entry| entry.expect("an entry").path()).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Writes the messages, each with the name of its step: what is new in each, since all of them begin and commit.
pub(crate) fn write(folder: &Path, sent: &[(&str, Vec<u8>)]) {
    fs::create_dir_all(folder).expect("a folder");
    let mut sketcher = Sketcher::default();
    let mut sketches: BTreeMap<String, String> = BTreeMap::new();
    for (step, bytes) in sent {
        let sketch = sketcher.sketch(&Message::decode(bytes).expect("a message"));
        if sketches.values().any(|known| *known == sketch) {
            continue;
        }
        let kind = sketch.split(' ').next().unwrap_or_default();
        let name = (1..)
            .map(|number| if number == 1 { format!("{step}.{kind}") } else { format!("{step}.{number}.{kind}") })
            .find(|name| !sketches.contains_key(name))
            .expect("a free name");
        fs::write(folder.join(&name), bytes).expect("a file");
        sketches.insert(name, sketch);
    }
    let lines = sketches.iter().fold(String::new(), |mut lines, (name, sketch)| {
        let _ = writeln!(lines, "{name}: {sketch}");
        lines
    });
    fs::write(folder.join(SKETCHES), lines).expect("a file");
}

#[test]
fn each_message_is_what_its_sketch_says() {
    for release in releases() {
        let mut sketcher = Sketcher::default();
        for bytes in release.messages.values() {
            if let Ok(Message::Relation(relation)) = Message::decode(bytes) {
                sketcher.learn(&relation);
            }
        }
        let sketches = release.messages.iter().fold(String::new(), |mut lines, (name, bytes)| {
            let message = Message::decode(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            let _ = writeln!(lines, "{name}: {}", sketcher.sketch(&message));
            lines
        });
        let expected = fs::read_to_string(release.folder.join(SKETCHES)).expect("the sketches");
        assert_eq!(sketches, expected, "{}", release.folder.display());
    }
}

#[test]
fn each_message_is_encoded_as_it_was_sent() {
    for (name, bytes) in releases().iter().flat_map(|release| &release.messages) {
        let message = Message::decode(bytes).expect(name);
        assert_eq!(Sent::from(&message).encode(), *bytes, "{name}");
    }
}

#[test]
fn a_message_that_lacks_its_end_is_an_error() {
    for (name, bytes) in releases().iter().flat_map(|release| &release.messages) {
        assert_eq!(Message::decode(&[]), Err(DecodeError::Empty));
        for end in 1..bytes.len() {
            match Message::decode(&bytes[..end]) {
                Err(DecodeError::Truncated { offset, .. }) => assert!(offset <= end, "{name} to {end}"),
                other => panic!("{name} to {end}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_message_with_more_behind_it_is_an_error() {
    for (name, bytes) in releases().iter().flat_map(|release| &release.messages) {
        let longer = [bytes.as_slice(), &[0]].concat();
        match Message::decode(&longer) {
            Err(DecodeError::Trailing { offset, bytes: 1, .. }) => assert_eq!(offset, bytes.len(), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Nothing is overlooked: whatever byte is changed, the message says so when it is encoded again, or is refused.
#[test]
fn a_message_with_one_byte_changed_is_another_message_or_an_error() {
    let (mut decoded, mut refused) = (0_u64, 0_u64);
    // Of one release: the others sent the same with other ids and times.
    let release = releases().pop().expect("a release");
    for (name, bytes) in &release.messages {
        let mut changed = bytes.clone();
        // Inside of long values every byte is like the next.
        for at in (0..bytes.len()).filter(|at| *at < 300 || at + 60 > bytes.len()) {
            for value in (0..=u8::MAX).filter(|value| *value != bytes[at]) {
                changed[at] = value;
                match Message::decode(&changed) {
                    Ok(message) => {
                        assert_eq!(Sent::from(&message).encode(), changed, "{name}, byte {at}");
                        decoded += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            changed[at] = bytes[at];
        }
    }
    println!("{decoded} decoded as another message, {refused} refused");
    assert!(decoded > 0 && refused > 0);
}
