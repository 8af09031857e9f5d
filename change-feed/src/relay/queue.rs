//! The parts that form while another one is being published.

use std::collections::VecDeque;

use super::options::RelayOptions;
use crate::feed::envelope::Envelope;
use crate::feed::part::End;

/// Envelopes that will be published together.
#[derive(Debug, PartialEq)]
pub(super) struct FormedPart {
    pub(super) envelopes: Vec<Envelope>,
    pub(super) end: End,
    pub(super) size_bytes: usize,
}

/// Forms parts from runs, in order and within limits.
///
/// Complete runs are joined while they fit. A run that continues starts a part of its own, so that
/// the complete transactions before it don't wait for its end; what completes it may join it. A run
/// that is larger than a part becomes several, all but the last of which continue.
#[derive(Debug)]
pub(super) struct Queue {
    parts: VecDeque<FormedPart>,
    size_bytes: usize,
    max_part_envelopes: usize,
    max_part_bytes: usize,
    max_joined_envelopes: usize,
}

impl Queue {
    pub(super) fn new(options: &RelayOptions) -> Self {
        Self {
            parts: VecDeque::new(),
            size_bytes: 0,
            max_part_envelopes: options.max_part_envelopes.max(1),
            max_part_bytes: options.max_part_bytes,
            max_joined_envelopes: usize::MAX,
        }
    }

    /// From now on complete runs share a part up to this many envelopes.
    pub(super) fn limit_joins(&mut self, max_joined_envelopes: usize) {
        self.max_joined_envelopes = max_joined_envelopes;
    }

    /// The bytes of all parts.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Takes a run.
    pub(super) fn push(&mut self, envelopes: Vec<Envelope>, end: End) {
        let size_bytes = envelopes.iter().map(Envelope::size_bytes).sum();
        self.size_bytes += size_bytes;
        let run = FormedPart { envelopes, end, size_bytes };
        let (max_envelopes, max_bytes) = (self.max_part_envelopes, self.max_part_bytes);
        let max_joined = self.max_joined_envelopes.min(max_envelopes);
        match self.parts.back_mut() {
            Some(last) if last.takes(&run, max_joined, max_envelopes, max_bytes) => last.join(run),
            _ if run.fits(max_envelopes, max_bytes) => self.parts.push_back(run),
            _ => self.split(run),
        }
    }

    /// The next part to publish, whatever its size: waiting for more would only delay it.
    pub(super) fn pop(&mut self) -> Option<FormedPart> {
        let part = self.parts.pop_front()?;
        self.size_bytes -= part.size_bytes;
        Some(part)
    }

    /// Drops what follows the last complete end.
    pub(super) fn drop_incomplete(&mut self) {
        while self.parts.back().is_some_and(|part| part.end == End::Continues) {
            self.size_bytes -= self.parts.pop_back().map_or(0, |part| part.size_bytes);
        }
    }

    fn split(&mut self, run: FormedPart) {
        let mut piece = FormedPart::continuing();
        for envelope in run.envelopes {
            let size_bytes = envelope.size_bytes();
            let full = piece.envelopes.len() >= self.max_part_envelopes
                || piece.size_bytes.saturating_add(size_bytes) > self.max_part_bytes;
            if full && !piece.envelopes.is_empty() {
                self.parts.push_back(std::mem::replace(&mut piece, FormedPart::continuing()));
            }
            piece.envelopes.push(envelope);
            piece.size_bytes += size_bytes;
        }
        piece.end = run.end;
        self.parts.push_back(piece);
    }
}

impl FormedPart {
    fn continuing() -> Self {
        Self { envelopes: Vec::new(), end: End::Continues, size_bytes: 0 }
    }

    fn fits(&self, max_envelopes: usize, max_bytes: usize) -> bool {
        let len = self.envelopes.len();
        len <= max_envelopes && (self.size_bytes <= max_bytes || len <= 1)
    }

    fn takes(&self, run: &FormedPart, max_joined: usize, max_envelopes: usize, max_bytes: usize) -> bool {
        let max_envelopes = match (&self.end, &run.end) {
            (End::Continues, _) => max_envelopes,
            (End::Complete(_), End::Complete(_)) => max_joined,
            (End::Complete(_), End::Continues) => return false,
        };
        self.envelopes.len() + run.envelopes.len() <= max_envelopes && self.size_bytes + run.size_bytes <= max_bytes
    }

    fn join(&mut self, run: FormedPart) {
        self.envelopes.extend(run.envelopes);
        self.size_bytes += run.size_bytes;
        self.end = run.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::identity::tests::identity;
    use crate::feed::position::Position;
    use crate::feed::router::Router;
    use crate::memory::database::MemoryDatabase;
    use crate::memory::event::MemoryEvent;

    fn queue(max_part_envelopes: usize) -> Queue {
        Queue::new(&RelayOptions { max_part_envelopes, ..RelayOptions::default() })
    }

    fn envelopes(count: usize) -> Vec<Envelope> {
        let database = MemoryDatabase::new();
        database.commit((0..count).map(|_| MemoryEvent::new("a")));
        let router = Router::to_topic("t");
        database
            .changes()
            .into_iter()
            .map(|change| router.route(change, &identity()).expect("a topic for events"))
            .collect()
    }

    fn complete(sequence: u64) -> End {
        End::Complete(Position::new('m', sequence, 0))
    }

    fn drained(queue: &mut Queue) -> Vec<(usize, End)> {
        let parts: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|part| (part.envelopes.len(), part.end)).collect();
        assert_eq!(queue.size_bytes(), 0);
        parts
    }

    #[test]
    fn complete_runs_share_a_part_while_they_fit() {
        let mut queue = queue(5);
        for sequence in 1..=3 {
            queue.push(envelopes(2), complete(sequence));
        }
        assert_eq!(drained(&mut queue), [(4, complete(2)), (2, complete(3))]);
    }

    #[test]
    fn what_complete_runs_share_can_be_limited_apart() {
        let mut queue = queue(10);
        queue.limit_joins(1);
        queue.push(envelopes(1), complete(1));
        queue.push(envelopes(3), End::Continues);
        queue.push(envelopes(3), complete(2));
        queue.limit_joins(7);
        queue.push(envelopes(1), complete(3));
        queue.push(envelopes(1), complete(4));
        assert_eq!(drained(&mut queue), [(1, complete(1)), (7, complete(3)), (1, complete(4))]);
    }

    #[test]
    fn a_run_without_changes_moves_the_position_of_the_part_before_it() {
        let mut queue = queue(2);
        queue.push(envelopes(2), complete(1));
        queue.push(Vec::new(), complete(2));
        assert_eq!(drained(&mut queue), [(2, complete(2))]);
        queue.push(Vec::new(), complete(3));
        assert_eq!(drained(&mut queue), [(0, complete(3))]);
    }

    #[test]
    fn what_continues_never_stands_behind_complete_transactions_and_is_joined_by_its_end() {
        let mut queue = queue(10);
        queue.push(envelopes(2), complete(1));
        queue.push(envelopes(2), End::Continues);
        queue.push(envelopes(2), End::Continues);
        queue.push(envelopes(1), complete(2));
        assert_eq!(drained(&mut queue), [(2, complete(1)), (5, complete(2))]);
    }

    #[test]
    fn a_run_larger_than_a_part_becomes_parts_that_continue() {
        let mut queue = queue(3);
        queue.push(envelopes(1), complete(1));
        queue.push(envelopes(7), complete(2));
        let parts = [(1, complete(1)), (3, End::Continues), (3, End::Continues), (1, complete(2))];
        assert_eq!(drained(&mut queue), parts);
    }

    #[test]
    fn the_bytes_of_a_part_are_limited_and_one_envelope_always_fits() {
        let max_part_bytes = envelopes(1)[0].size_bytes() * 2;
        let options = RelayOptions { max_part_bytes, ..RelayOptions::default() };
        let mut queue = Queue::new(&options);
        queue.push(envelopes(5), complete(1));
        assert_eq!(drained(&mut queue), [(2, End::Continues), (2, End::Continues), (1, complete(1))]);
        let mut queue = Queue::new(&RelayOptions { max_part_bytes: 1, ..options });
        queue.push(envelopes(2), complete(1));
        assert_eq!(drained(&mut queue), [(1, End::Continues), (1, complete(1))]);
    }

    #[test]
    fn what_follows_the_last_complete_end_can_be_dropped() {
        let mut queue = queue(2);
        queue.push(envelopes(3), complete(1));
        queue.push(envelopes(4), End::Continues);
        queue.drop_incomplete();
        assert_eq!(drained(&mut queue), [(2, End::Continues), (1, complete(1))]);
    }
}
