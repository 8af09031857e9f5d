//! What a suite found.

use std::fmt;

/// What a suite found, rule by rule. `Display` gives a line for each.
#[derive(Debug)]
pub struct Report {
    outcomes: Vec<RuleOutcome>,
}

/// What became of a rule.
#[derive(Debug)]
pub struct RuleOutcome {
    /// The rule.
    pub rule: &'static str,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a rule.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was kept.
    Kept,
    /// It was broken.
    Broken(RuleBroken),
    /// It asks for what this implementation does not claim to do.
    NotApplicable(&'static str),
    /// It could not be checked: the harness failed, or a rule that it rests on is broken.
    Undecided(String),
}

/// A rule of the contract that an implementation breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct RuleBroken {
    /// The rule.
    pub rule: &'static str,
    /// What happened, and what should have.
    pub what: String,
}

/// A report in which a rule is broken, or could not be checked. `Debug` gives the report as
/// `Display` does, so that a test that returns it prints something to read.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct NotConforming(pub Report);

impl Report {
    pub(super) fn new(outcomes: Vec<RuleOutcome>) -> Self {
        Self { outcomes }
    }

    /// Every rule of the suite and what became of it.
    pub fn outcomes(&self) -> &[RuleOutcome] {
        &self.outcomes
    }

    /// The rules that are broken.
    pub fn broken(&self) -> impl Iterator<Item = &RuleBroken> {
        self.outcomes.iter().filter_map(|outcome| match &outcome.outcome {
            Outcome::Broken(broken) => Some(broken),
            _ => None,
        })
    }

    /// The rules that ask for what this implementation does not claim to do.
    pub fn not_applicable(&self) -> impl Iterator<Item = &'static str> {
        let rules = self.outcomes.iter().filter(|outcome| matches!(outcome.outcome, Outcome::NotApplicable(_)));
        rules.map(|outcome| outcome.rule)
    }

    /// The report if each rule was kept or is not applicable; an error that shows it otherwise.
    pub fn into_result(self) -> Result<Report, NotConforming> {
        let conforms = |outcome: &Outcome| matches!(outcome, Outcome::Kept | Outcome::NotApplicable(_));
        if self.outcomes.iter().all(|rule| conforms(&rule.outcome)) { Ok(self) } else { Err(NotConforming(self)) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, RuleOutcome { rule, outcome }) in self.outcomes.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match outcome {
                Outcome::Kept => write!(f, "kept           {rule}")?,
                Outcome::Broken(broken) => write!(f, "BROKEN         {broken}")?,
                Outcome::NotApplicable(why) => write!(f, "not applicable {rule}: {why}")?,
                Outcome::Undecided(why) => write!(f, "UNDECIDED      {rule}: {why}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for NotConforming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.0)
    }
}
