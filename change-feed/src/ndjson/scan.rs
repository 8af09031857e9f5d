//! What a feed's file says of itself: its head, and its last checkpoint that is whole.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crc32fast::Hasher;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::feed::checkpoint::Checkpoint;

/// How every line of a checkpoint begins, and no other line.
const CHECKPOINT: &str = "{\"checkpoint\":";
const BYTES: &str = ",\"bytes\":";
const CRC32: &str = ",\"crc32\":\"";
const CLOSE: &str = "\"}\n";
const WINDOW_LEN_BYTES: u64 = 64 << 10;
/// Longer than any head of a format to come.
const MAX_HEAD_LEN_BYTES: u64 = 4096;

/// The first line of a feed's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    feed_file: FeedFileId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FeedFileId {
    format: u32,
    id: Uuid,
}

/// Why a file can't be read as a feed's.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not the file of a feed: give the feed another one, or remove it")]
    Foreign,
    #[error("a newer version of change-feed wrote it: use that version")]
    Newer,
}

impl Head {
    const FORMAT: u32 = 1;

    pub(super) fn new() -> Self {
        Self { feed_file: FeedFileId { format: Self::FORMAT, id: Uuid::now_v7() } }
    }

    pub(super) fn id(&self) -> String {
        self.feed_file.id.to_string()
    }

    pub(super) fn line(&self) -> String {
        format!("{{\"feed_file\":{{\"format\":{},\"id\":\"{}\"}}}}\n", Self::FORMAT, self.feed_file.id)
    }

    /// The head of a file and its length; `None` if the file is empty or its making was cut short.
    pub(super) fn read(file: &mut File) -> Result<Option<(Self, u64)>, ScanError> {
        let mut start = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.take(MAX_HEAD_LEN_BYTES).read_to_end(&mut start)?;
        let Some(end) = start.iter().position(|byte| *byte == b'\n') else {
            // Of the line that a crash cut short all but the id is known.
            let line = Self::new().line();
            let known = line.split_inclusive(":\"").next().unwrap_or(&line).as_bytes();
            let torn = start.len() < line.len() && start.iter().zip(known).all(|(a, b)| a == b);
            return if torn { Ok(None) } else { Err(ScanError::Foreign) };
        };
        #[derive(Deserialize)]
        struct AnyHead {
            feed_file: AnyFormat,
        }
        #[derive(Deserialize)]
        struct AnyFormat {
            format: u32,
        }
        let AnyHead { feed_file } = serde_json::from_slice(&start[..end]).map_err(|_| ScanError::Foreign)?;
        if feed_file.format != Self::FORMAT {
            return Err(ScanError::Newer);
        }
        let head = serde_json::from_slice(&start[..end]).map_err(|_| ScanError::Foreign)?;
        Ok(Some((head, end as u64 + 1)))
    }
}

/// What a checkpoint covers: the bytes since the last one.
#[derive(Debug, Clone, Default)]
pub(super) struct Covered {
    bytes: u64,
    crc32: Hasher,
}

impl Covered {
    pub(super) fn add(&mut self, lines: &[u8]) {
        self.bytes += lines.len() as u64;
        self.crc32.update(lines);
    }

    /// The line of a checkpoint that covers this.
    pub(super) fn line(mut self, checkpoint: &Checkpoint) -> serde_json::Result<String> {
        let text = serde_json::to_string(checkpoint)?;
        self.crc32.update(text.as_bytes());
        Ok(format!("{CHECKPOINT}{text}{BYTES}{}{CRC32}{:08x}{CLOSE}", self.bytes, self.crc32.finalize()))
    }
}

/// The last checkpoint of a file that is whole, and where its line ends.
pub(super) fn last_checkpoint(file: &mut File, head_len: u64) -> Result<Option<(Checkpoint, u64)>, ScanError> {
    let mut before = file.seek(SeekFrom::End(0))?;
    while let Some(start) = last_line_start(file, head_len, before)? {
        if let Some(found) = read_checkpoint(file, head_len, start, before)? {
            return Ok(Some(found));
        }
        before = start;
    }
    Ok(None)
}

/// Where the last line that begins as a checkpoint does starts, of those before an offset.
fn last_line_start(file: &mut File, head_len: u64, before: u64) -> io::Result<Option<u64>> {
    let pattern = format!("\n{CHECKPOINT}");
    let pattern = pattern.as_bytes();
    // The line break that ends the head is part of the search.
    let first = head_len - 1;
    let mut end = before;
    let mut window = Vec::new();
    while end > first {
        let start = end.saturating_sub(WINDOW_LEN_BYTES).max(first);
        window.clear();
        file.seek(SeekFrom::Start(start))?;
        // Windows overlap, so that a pattern on their border is seen.
        let len = (end - start + pattern.len() as u64 - 1).min(before - start);
        file.take(len).read_to_end(&mut window)?;
        if let Some(at) = window.windows(pattern.len()).rposition(|bytes| bytes == pattern) {
            return Ok(Some(start + at as u64 + 1));
        }
        end = start;
    }
    Ok(None)
}

/// The checkpoint whose line starts here, if it and what it covers are whole.
fn read_checkpoint(
    file: &mut File,
    head_len: u64,
    start: u64,
    before: u64,
) -> Result<Option<(Checkpoint, u64)>, ScanError> {
    let mut line = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(before - start).read_to_end(&mut line)?;
    let Some(len) = line.iter().position(|byte| *byte == b'\n') else {
        return Ok(None);
    };
    let line = &line[..=len];
    let Some((text, bytes, crc32)) = std::str::from_utf8(line).ok().and_then(fields) else {
        return Ok(None);
    };
    let Some(covered_from) = start.checked_sub(bytes).filter(|from| *from >= head_len) else {
        return Ok(None);
    };
    let mut hasher = checksum(file, covered_from, bytes)?;
    hasher.update(text.as_bytes());
    if hasher.finalize() != crc32 {
        return Ok(None);
    }
    // It is what was written: if it can't be understood, it is not for this version to cut it off.
    let checkpoint = serde_json::from_str(text).map_err(|_| ScanError::Newer)?;
    Ok(Some((checkpoint, start + line.len() as u64)))
}

fn fields(line: &str) -> Option<(&str, u64, u32)> {
    let (text, rest) = line.strip_prefix(CHECKPOINT)?.rsplit_once(BYTES)?;
    let (bytes, crc32) = rest.strip_suffix(CLOSE)?.split_once(CRC32)?;
    Some((text, bytes.parse().ok()?, u32::from_str_radix(crc32, 16).ok()?))
}

fn checksum(file: &mut File, from: u64, bytes: u64) -> io::Result<Hasher> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; WINDOW_LEN_BYTES as usize];
    file.seek(SeekFrom::Start(from))?;
    let mut covered = file.take(bytes);
    loop {
        match covered.read(&mut buffer)? {
            0 => return Ok(hasher),
            read => hasher.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::feed::identity::{Epoch, FeedIdentity, FeedName, PublisherIdentity, SourceIdentity};
    use crate::feed::position::Position;

    fn checkpoint(sequence: u64) -> Checkpoint {
        let feed = FeedName::new("orders").expect("a valid name");
        let source = SourceIdentity::new("memory", "one", "events");
        let identity = FeedIdentity::new(feed, Epoch::FIRST, source, PublisherIdentity::new("ndjson-file", "two"));
        Checkpoint::new(identity, Position::new('m', sequence, 0))
    }

    /// A file with three checkpoints, its head's length, and where the checkpoints end.
    fn file() -> (File, u64, Vec<u64>) {
        let mut text = Head::new().line();
        let head_len = text.len() as u64;
        let mut ends = Vec::new();
        for sequence in 1..=3 {
            // One is larger than a window, and one covers nothing.
            let records = match sequence {
                1 => format!("{{\"topic\":\"{}\"}}\n", "x".repeat(WINDOW_LEN_BYTES as usize)),
                2 => "{\"topic\":\"t\",\"payload\":\"{\\\"checkpoint\\\":\"}\n".repeat(3),
                _ => String::new(),
            };
            let mut covered = Covered::default();
            covered.add(records.as_bytes());
            text.push_str(&records);
            text.push_str(&covered.line(&checkpoint(sequence)).expect("plain data"));
            ends.push(text.len() as u64);
        }
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        (file, head_len, ends)
    }

    fn last(file: &mut File, head_len: u64) -> Option<(u64, u64)> {
        let found = last_checkpoint(file, head_len).expect("readable");
        found.map(|(checkpoint, end)| (checkpoint.position.major(), end))
    }

    #[test]
    fn a_file_that_was_cut_anywhere_ends_at_its_last_whole_checkpoint() {
        let (mut file, head_len, ends) = file();
        let len = *ends.last().expect("three");
        let near_an_end = |at: &u64| ends.iter().any(|end| at.abs_diff(*end) < 800) || *at < head_len + 100;
        for cut in (head_len..=len).rev().filter(near_an_end) {
            file.set_len(cut).expect("cut");
            let whole = ends.iter().zip(1..).take_while(|(end, _)| **end <= cut).last();
            assert_eq!(last(&mut file, head_len), whole.map(|(end, sequence)| (sequence, *end)), "cut at {cut}");
        }
    }

    #[test]
    fn a_hole_in_what_a_checkpoint_covers_takes_it_back() {
        for at in 0..3usize {
            let (mut file, head_len, ends) = file();
            let begin = if at == 0 { head_len } else { ends[at - 1] };
            let mut hole = begin;
            while hole + 4 <= ends[at] {
                let mut before = [0; 4];
                let mut others = file.try_clone().expect("another handle");
                others.seek(SeekFrom::Start(hole)).expect("there");
                others.read_exact(&mut before).expect("there");
                let mut write = |bytes: &[u8]| {
                    others.seek(SeekFrom::Start(hole)).expect("there");
                    others.write_all(bytes).expect("written");
                };
                write(&[0; 4]);
                // What comes after it is not what is asked: the last write is the one that tears.
                file.set_len(ends[at]).expect("cut");
                let expected = at.checked_sub(1).map(|at| (at as u64 + 1, ends[at]));
                assert_eq!(last(&mut file, head_len), expected, "hole at {hole} in {at}");
                write(&before);
                assert_eq!(last(&mut file, head_len), Some((at as u64 + 1, ends[at])));
                hole += if at == 0 { 9973 } else { 3 };
            }
        }
    }

    #[test]
    fn a_checkpoint_of_a_newer_form_is_not_cut_off() {
        let (mut file, head_len, _) = file();
        let text = serde_json::to_string(&checkpoint(4)).expect("plain data").replace("\"format\":1", "\"format\":2");
        let crc32 = crc32fast::hash(text.as_bytes());
        file.seek(SeekFrom::End(0)).expect("there");
        file.write_all(format!("{CHECKPOINT}{text}{BYTES}0{CRC32}{crc32:08x}{CLOSE}").as_bytes()).expect("written");
        let refused = last_checkpoint(&mut file, head_len);
        assert!(matches!(refused, Err(ScanError::Newer)), "{refused:?}");
    }

    #[test]
    fn only_a_feeds_own_head_is_taken_for_one() {
        let head = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().expect("a temporary file");
            file.write_all(bytes).expect("written");
            Head::read(&mut file).map(|head| head.map(|(_, len)| len))
        };
        let line = Head::new().line();
        assert!(matches!(head(line.as_bytes()), Ok(Some(len)) if len == line.len() as u64));
        for cut in 0..line.len() {
            assert!(matches!(head(&line.as_bytes()[..cut]), Ok(None)), "cut at {cut}");
        }
        for foreign in
            ["\n", "{}\n", "shopping list", "{\"topic\":\"t\"}\n", "{\"feed_file\":{\"format\":1,\"id\":3}}\n"]
        {
            assert!(matches!(head(foreign.as_bytes()), Err(ScanError::Foreign)), "{foreign}");
        }
        assert!(matches!(head(&[0; 5000]), Err(ScanError::Foreign)));
        assert!(matches!(head(b"{\"feed_file\":{\"format\":2}}\n"), Err(ScanError::Newer)));
    }
}
