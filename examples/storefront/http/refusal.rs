//! What the store's no means in HTTP.

use order_store::{Refusal, StoreError};

use super::problem::{Problem, ProblemKind};
use crate::chain::chain;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::Unknown { .. } => {
                let detail = "the connection to the database was lost before it answered, so the change may have \
                              happened: send it again with the same Idempotency-Key, or read the order if it had none";
                logged(&error, ProblemKind::Unavailable, detail)
            }
            StoreError::Unavailable { .. } => {
                logged(&error, ProblemKind::Unavailable, "the database can't be used at present: nothing was changed")
            }
            _ => logged(&error, ProblemKind::Internal, "nothing was changed; the storefront's log has the cause"),
        }
    }
}

fn logged(error: &StoreError, kind: ProblemKind, detail: &str) -> Problem {
    tracing::error!(target: "storefront::store", error = chain(error), "the store did not answer");
    Problem::new(kind, detail)
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let problem = Problem::new(kind(&refusal), refusal.to_string());
        match refusal {
            Refusal::OrderCancelled { at_version } | Refusal::AlreadyCancelled { at_version } => {
                problem.with("at_version", at_version.get())
            }
            Refusal::VersionConflict { expected, actual } => {
                problem.with("expected", expected.get()).with("actual", actual.get())
            }
            Refusal::TooManyItems { limit } => problem.with("limit", limit),
            Refusal::Violation { constraint } => problem.with("constraint", constraint),
            _ => problem,
        }
    }
}

fn kind(refusal: &Refusal) -> ProblemKind {
    match refusal {
        Refusal::OrderCancelled { .. } | Refusal::AlreadyCancelled { .. } => ProblemKind::OrderCancelled,
        Refusal::OrderEmpty | Refusal::LastItem => ProblemKind::OrderEmpty,
        Refusal::TooManyItems { .. } | Refusal::VersionsExhausted => ProblemKind::OrderFull,
        Refusal::VersionConflict { .. } => ProblemKind::VersionConflict,
        Refusal::OrderNotFound => ProblemKind::OrderNotFound,
        Refusal::ItemNotFound => ProblemKind::ItemNotFound,
        Refusal::RequestIdReused => ProblemKind::IdempotencyKeyReused,
        // Also what a later version of the store may refuse: a no is never taken for a fault.
        _ => ProblemKind::InvalidRequest,
    }
}
