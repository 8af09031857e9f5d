//! What the judge found.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::feed::event::EventId;
use crate::feed::identity::Epoch;

/// What the judge found.
///
/// `Display` gives the report: one line with every count, then a line for each finding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    counts: Counts,
    #[serde(serialize_with = "by_kind")]
    totals: [u64; FindingKind::ALL.len()],
    findings: Vec<Finding>,
    #[serde(skip)]
    findings_per_kind_max: usize,
}

/// What the judge counted that is no violation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// The events of the history.
    pub expected: u64,
    /// The records of the topic.
    pub records: u64,
    /// The events of the history that were published.
    pub published: u64,
    /// Records that are stubs: their data is withheld.
    pub withheld: u64,
    /// Records that came again with the same event id, where the delivery is at least once.
    pub redelivered: u64,
    /// Records that were published again on an operator's order.
    pub replays: u64,
    /// Records that opened an epoch of their key.
    pub baselines: u64,
    /// Events that were not published, before a baseline that holds their effect.
    pub covered: u64,
    /// Records of an earlier epoch that the history doesn't hold, before a baseline that repaired them.
    pub superseded: u64,
    /// Records of versions before the history of their key: pruned from the outbox.
    pub pruned: u64,
    /// Records after the position that the history was read at. Not judged.
    pub beyond: u64,
}

/// A violation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// The key.
    pub key: Box<str>,
    /// The version.
    pub version: u64,
    /// The event's id: the record's where there is a record, else the history's.
    pub event_id: Option<EventId>,
    /// The record's epoch, where there is a record.
    pub epoch: Option<Epoch>,
    /// Where the record stands, where there is one.
    pub place: Option<RecordPlace>,
    /// What else there is to say.
    pub detail: String,
}

/// Where a record stands in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RecordPlace {
    /// The partition.
    pub partition: u32,
    /// The offset in it.
    pub offset: u64,
}

/// The kind of a violation. One fault gives findings of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// An event of the history was not published, nor any other of its transaction (L).
    Missing,
    /// A record of an event that the history doesn't hold: a phantom (P).
    Extra,
    /// A record came again, unmarked, where each is promised once (D).
    Duplicated,
    /// The first record of an event came after that of a later version of its key (O).
    Inverted,
    /// A transaction was published in part, or its records count it wrongly (A, and L).
    Torn,
    /// A version of a key stands neither in the history nor in the topic: it has no event (E).
    Gap,
    /// A record of a version of the history, with another event's id (D, P).
    Conflicting,
    /// A record of a key stands in another partition than its first one (O).
    Scattered,
}

impl FindingKind {
    /// Every kind, in the order of reports.
    pub const ALL: [FindingKind; 8] = [
        Self::Missing,
        Self::Extra,
        Self::Duplicated,
        Self::Inverted,
        Self::Torn,
        Self::Gap,
        Self::Conflicting,
        Self::Scattered,
    ];
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Duplicated => "duplicated",
            Self::Inverted => "inverted",
            Self::Torn => "torn",
            Self::Gap => "gap",
            Self::Conflicting => "conflicting",
            Self::Scattered => "scattered",
        })
    }
}

impl Verdict {
    pub(super) fn new(findings_per_kind_max: usize) -> Self {
        Self {
            counts: Counts::default(),
            totals: [0; FindingKind::ALL.len()],
            findings: Vec::new(),
            findings_per_kind_max,
        }
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.totals.iter().all(|&total| total == 0)
    }

    /// What was counted that is no violation.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The number of violations of a kind, all of them.
    pub fn total(&self, kind: FindingKind) -> u64 {
        self.totals[kind as usize]
    }

    /// The violations, of each kind the first ones: see
    /// [`Judge::findings_per_kind_max`](super::Judge::findings_per_kind_max).
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    pub(super) fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }

    pub(super) fn find(&mut self, finding: Finding) {
        let total = &mut self.totals[finding.kind as usize];
        *total += 1;
        if *total <= self.findings_per_kind_max as u64 {
            self.findings.push(finding);
        }
    }

    /// Takes back `count` findings of a kind on a key, from before an epoch.
    pub(super) fn take_back(&mut self, kind: FindingKind, key: &str, before: Epoch, count: u64) {
        self.totals[kind as usize] -= count;
        let is_taken_back = |finding: &Finding| {
            finding.kind == kind && &*finding.key == key && finding.epoch.is_some_and(|epoch| epoch < before)
        };
        self.findings.retain(|finding| !is_taken_back(finding));
    }
}

fn by_kind<S: Serializer>(totals: &[u64; FindingKind::ALL.len()], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(FindingKind::ALL.iter().zip(totals))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        let word = if self.is_clean() { "clean" } else { "VIOLATED" };
        write!(f, "{word}: {} events, {} published", counts.expected, counts.published)?;
        write!(f, ", {} records", counts.records)?;
        for kind in FindingKind::ALL {
            write!(f, ", {kind} {}", self.total(kind))?;
        }
        let others = [
            ("withheld", counts.withheld),
            ("redelivered", counts.redelivered),
            ("replays", counts.replays),
            ("baselines", counts.baselines),
            ("covered", counts.covered),
            ("superseded", counts.superseded),
            ("pruned", counts.pruned),
            ("beyond", counts.beyond),
        ];
        for (name, count) in others.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, ", {name} {count}")?;
        }
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        let unnamed = self.totals.iter().sum::<u64>() - self.findings.len() as u64;
        if unnamed > 0 {
            write!(f, "\n  and {unnamed} more")?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<11} {} v{}", self.kind, self.key, self.version)?;
        if let Some(event_id) = self.event_id {
            write!(f, " event {event_id}")?;
        }
        if let Some(RecordPlace { partition, offset }) = self.place {
            write!(f, " at {partition}/{offset}")?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}
