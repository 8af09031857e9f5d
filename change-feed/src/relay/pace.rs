//! How much the publisher is given at a time after it has failed.

/// How many envelopes of complete runs share a part: less after a failure, more after a success.
///
/// A publisher that fails now and then, at one request of a thousand, would hardly ever finish a
/// part of ten thousand; and each failure repeats the part where no position is kept.
#[derive(Debug)]
pub(super) struct Pace {
    envelopes: usize,
    max_envelopes: usize,
}

impl Pace {
    pub(super) fn new(max_envelopes: usize) -> Self {
        Self { envelopes: max_envelopes, max_envelopes }
    }

    pub(super) fn envelopes(&self) -> usize {
        self.envelopes
    }

    pub(super) fn succeeded(&mut self) {
        self.envelopes = self.envelopes.saturating_mul(2).min(self.max_envelopes);
    }

    /// A part of this many envelopes failed.
    pub(super) fn failed(&mut self, envelopes: usize) {
        self.envelopes = self.envelopes.min(envelopes / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_halve_with_each_failure_and_double_with_each_success() {
        let mut pace = Pace::new(100);
        pace.failed(60);
        assert_eq!(pace.envelopes(), 30);
        pace.succeeded();
        assert_eq!(pace.envelopes(), 60);
        pace.succeeded();
        pace.succeeded();
        assert_eq!(pace.envelopes(), 100);
        for _ in 0..10 {
            pace.failed(1);
        }
        assert_eq!(pace.envelopes(), 1);
        pace.succeeded();
        assert_eq!(pace.envelopes(), 2);
    }
}
