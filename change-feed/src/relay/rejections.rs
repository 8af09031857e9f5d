//! The envelopes that a publisher rejected, until their stubs are published.

use std::collections::HashMap;

use crate::feed::change_id::ChangeId;
use crate::feed::envelope::Envelope;

/// Remembers why envelopes were rejected, from the rejection until a complete end has passed them.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    reasons: HashMap<ChangeId, String>,
    /// Whose stubs were published since the last complete end.
    passed: Vec<ChangeId>,
}

impl Rejections {
    pub(super) fn len(&self) -> usize {
        self.reasons.len()
    }

    pub(super) fn remember(&mut self, envelope: &Envelope, reason: String) {
        self.reasons.insert(envelope.change_id(), reason);
    }

    /// The envelope itself, or its stub if it was rejected.
    pub(super) fn apply(&self, envelope: Envelope) -> Envelope {
        if self.reasons.is_empty() {
            return envelope;
        }
        match self.reasons.get(&envelope.change_id()) {
            Some(reason) => envelope.withheld(reason),
            None => envelope,
        }
    }

    /// What was published since the last complete end comes again.
    pub(super) fn rewind(&mut self) {
        self.passed.clear();
    }

    /// These envelopes were published, and at a complete end they don't come again. Returns how
    /// many of them are stubs.
    pub(super) fn published(&mut self, envelopes: &[Envelope], complete: bool) -> usize {
        if self.reasons.is_empty() {
            return 0;
        }
        let before = self.passed.len();
        let stubs = envelopes.iter().filter(|envelope| envelope.withheld_reason().is_some());
        self.passed.extend(stubs.map(Envelope::change_id));
        let stubs = self.passed.len() - before;
        if complete {
            for id in self.passed.drain(..) {
                self.reasons.remove(&id);
            }
        }
        stubs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::identity::tests::identity;
    use crate::feed::router::Router;
    use crate::memory::database::MemoryDatabase;

    #[test]
    fn a_rejection_is_forgotten_when_a_complete_end_has_passed_its_stub() {
        let database = MemoryDatabase::new();
        database.commit(["a", "b"]);
        let router = Router::to_topic("t");
        let envelopes: Vec<_> =
            database.changes().into_iter().map(|c| router.route(c, &identity()).expect("a topic for events")).collect();
        let mut rejections = Rejections::default();
        rejections.remember(&envelopes[0], "too large".to_owned());
        let stubs: Vec<_> = envelopes.into_iter().map(|envelope| rejections.apply(envelope)).collect();
        assert_eq!(stubs[0].withheld_reason(), Some("too large"));
        assert_eq!(stubs[1].withheld_reason(), None);
        assert_eq!(rejections.published(&stubs, false), 1);
        rejections.rewind();
        assert_eq!(rejections.published(&[], true), 0);
        assert_eq!(rejections.len(), 1);
        assert_eq!(rejections.published(&stubs, true), 1);
        assert_eq!(rejections.len(), 0);
    }
}
