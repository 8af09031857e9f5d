//! What is kept of a frame.

use bytes::{Bytes, BytesMut};

/// Bytes of room that are made at a time.
const ROOM_BYTES: usize = 64 << 10;
/// A part of this size is most of what it was read with, and stays where it is.
const LARGE_BYTES: usize = 1 << 20;

/// Takes the parts of one frame that outlive it.
///
/// A frame is a slice of all that was read with it, most of which may be of no concern to the feed. What is kept for long
/// moves out, side by side with what else is kept, so that changes hold no more memory than the limits count for them.
#[derive(Debug)]
pub(super) struct Keeping<'a> {
    pub(super) frame: &'a Bytes,
    pub(super) room: &'a mut BytesMut,
}

impl Keeping<'_> {
    /// The part, to be kept for long.
    pub(super) fn keep(&mut self, part: &[u8]) -> Bytes {
        if part.len() >= LARGE_BYTES {
            return self.frame.slice_ref(part);
        }
        if self.room.capacity() < part.len() {
            self.room.reserve(part.len().max(ROOM_BYTES));
        }
        self.room.extend_from_slice(part);
        self.room.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK_BYTES: usize = 256 << 10;
    const CHUNKS: usize = 400;

    /// The memory that is held by what is kept of many chunks, a small part of each.
    fn held_bytes(keep: impl Fn(&Bytes, &mut BytesMut) -> Bytes) -> u64 {
        let mut room = BytesMut::new();
        let counted = allocation_counter::measure(|| {
            let kept: Vec<Bytes> = (0..CHUNKS).map(|_| keep(&Bytes::from(vec![7; CHUNK_BYTES]), &mut room)).collect();
            assert!(kept.iter().all(|part| part.len() == 300));
        });
        counted.bytes_max
    }

    #[test]
    fn what_is_kept_does_not_hold_what_it_was_read_with() {
        let slices = held_bytes(|frame, _| frame.slice(..300));
        assert!(slices > (CHUNKS * CHUNK_BYTES) as u64, "the count sees what slices hold: {slices}");
        let held = held_bytes(|frame, room| Keeping { frame, room }.keep(&frame[..300]));
        let one_chunk_and_what_is_kept = CHUNK_BYTES + CHUNKS * 300 + 2 * ROOM_BYTES;
        assert!(held < 2 * one_chunk_and_what_is_kept as u64, "{held}");
    }

    #[test]
    fn small_parts_cost_no_allocation_each() {
        let (frame, mut room) = (Bytes::from(vec![7; 300]), BytesMut::new());
        let counted = allocation_counter::measure(|| {
            for _ in 0..10_000 {
                drop(Keeping { frame: &frame, room: &mut room }.keep(&frame));
            }
        });
        assert!(counted.count_total < 500, "{}", counted.count_total);
    }

    #[test]
    fn a_large_part_is_not_copied() {
        let (frame, mut room) = (Bytes::from(vec![7; LARGE_BYTES]), BytesMut::new());
        let counted = allocation_counter::measure(|| drop(Keeping { frame: &frame, room: &mut room }.keep(&frame)));
        assert!(counted.bytes_max < 1_000, "{}", counted.bytes_max);
    }
}
