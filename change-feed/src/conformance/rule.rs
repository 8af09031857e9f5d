//! One rule, and how the rules of a suite are run.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt as _;

use super::report::{Outcome, Report, RuleBroken, RuleOutcome};

/// Why a harness could not do what the suite asked: the rule is undecided.
pub type HarnessError = Box<dyn Error + Send + Sync>;

/// How many rules are checked side by side.
const CONCURRENT_RULES: usize = 4;
/// How often a rule is checked, each time in a fresh place, while the implementation says that what
/// it works on is away.
const ATTEMPTS: usize = 3;
/// How long the checking of one rule may take.
const RULE_LIMIT: Duration = Duration::from_secs(180);

/// One rule of a contract.
pub(super) struct Rule<H: ?Sized, C> {
    pub(super) name: &'static str,
    /// Rules whose breach makes this one undecidable.
    pub(super) rests_on: &'static [&'static str],
    /// Why it does not apply to an implementation of these capabilities.
    pub(super) not_for: fn(&C) -> Option<&'static str>,
    pub(super) check: Check<H>,
}

pub(super) type Check<H> = for<'a> fn(&'a H) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

/// Why a check did not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The rule is broken.
    Broken(String),
    /// What the implementation works on was away. Again.
    Disturbed(String),
    /// The harness failed.
    Harness(HarnessError),
}

/// Says that a rule is broken.
pub(super) fn broken<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Broken(what.into()))
}

/// Says that a rule is broken unless `holds`.
pub(super) fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds { Ok(()) } else { broken(what()) }
}

impl From<HarnessError> for Fault {
    fn from(error: HarnessError) -> Self {
        Self::Harness(error)
    }
}

/// Checks every rule that applies.
pub(super) async fn run<H: ?Sized + Sync, C>(harness: &H, capabilities: &C, rules: &[Rule<H, C>]) -> Report {
    let checks = rules.iter().map(|rule| async move {
        let outcome = match (rule.not_for)(capabilities) {
            Some(why) => Outcome::NotApplicable(why),
            None => check(harness, rule).await,
        };
        RuleOutcome { rule: rule.name, outcome }
    });
    let mut outcomes: Vec<RuleOutcome> = futures::stream::iter(checks).buffered(CONCURRENT_RULES).collect().await;
    withdraw_consequences(rules, &mut outcomes);
    Report::new(outcomes)
}

async fn check<H: ?Sized, C>(harness: &H, rule: &Rule<H, C>) -> Outcome {
    let is_broken = |what| Outcome::Broken(RuleBroken { rule: rule.name, what });
    let mut disturbance = String::new();
    for _ in 0..ATTEMPTS {
        match tokio::time::timeout(RULE_LIMIT, (rule.check)(harness)).await {
            Ok(Ok(())) => return Outcome::Kept,
            Ok(Err(Fault::Broken(what))) => return is_broken(what),
            Ok(Err(Fault::Harness(error))) => return Outcome::Undecided(format!("the harness failed: {error}")),
            Ok(Err(Fault::Disturbed(what))) => disturbance = what,
            Err(_) => return is_broken(format!("its check did not end within {} s", RULE_LIMIT.as_secs())),
        }
    }
    is_broken(format!("{ATTEMPTS} times in a row: {disturbance}"))
}

/// A rule is reported as broken only if those that it rests on are not.
fn withdraw_consequences<H: ?Sized, C>(rules: &[Rule<H, C>], outcomes: &mut [RuleOutcome]) {
    let is_broken = |outcome: &RuleOutcome| matches!(outcome.outcome, Outcome::Broken(_));
    let broken: Vec<&'static str> = outcomes.iter().filter(|outcome| is_broken(outcome)).map(|o| o.rule).collect();
    for (rule, outcome) in rules.iter().zip(outcomes) {
        if let Some(cause) = rule.rests_on.iter().find(|name| broken.contains(name))
            && let Outcome::Broken(RuleBroken { what, .. }) = &outcome.outcome
        {
            outcome.outcome = Outcome::Undecided(format!("{cause} is broken, which it rests on; seen: {what}"));
        }
    }
}

/// How a future is dropped before its end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dropped {
    /// After it was polled so many times.
    Polls(usize),
    /// After a time.
    Time(Duration),
}

/// From at once to later than most calls take.
pub(super) const DROPS: [Dropped; 12] = [
    Dropped::Polls(0),
    Dropped::Polls(1),
    Dropped::Polls(2),
    Dropped::Polls(3),
    Dropped::Polls(5),
    Dropped::Polls(9),
    Dropped::Time(Duration::from_millis(1)),
    Dropped::Time(Duration::from_millis(2)),
    Dropped::Time(Duration::from_millis(5)),
    Dropped::Time(Duration::from_millis(10)),
    Dropped::Time(Duration::from_millis(25)),
    Dropped::Time(Duration::from_millis(60)),
];

impl Dropped {
    /// Runs a future and drops it; `None` if it had not ended by then.
    pub(super) async fn run<F: Future + Send>(self, future: F) -> Option<F::Output> {
        match self {
            Self::Time(time) => tokio::time::timeout(time, future).await.ok(),
            Self::Polls(polls) => {
                let mut future = Box::pin(future);
                for _ in 0..polls {
                    if let Poll::Ready(output) = futures::poll!(future.as_mut()) {
                        return Some(output);
                    }
                    tokio::task::yield_now().await;
                }
                None
            }
        }
    }
}
