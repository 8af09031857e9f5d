//! The answer to a request that was not done: `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use order_store::{Refusal, StoreError};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::console::chain;

/// Why a request was not done, in words and in a form for programs.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: ProblemKind,
    detail: String,
    members: Map<String, Value>,
}

/// A kind of problem: the last word of `type`, the status and a title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// The order is cancelled, for good.
    OrderCancelled,
    /// The order has no items, or would have none.
    OrderEmpty,
    /// The order has as many items as an order can have.
    OrderFull,
    /// The order isn't at the version that the request expects.
    VersionConflict,
    /// There is no such order.
    OrderNotFound,
    /// The order has no such item.
    ItemNotFound,
    /// The request itself is wrong.
    InvalidRequest,
    /// The client took too long to send the request.
    RequestTimeout,
    /// The body is larger than any that the store needs.
    RequestTooLarge,
    /// The body is not declared as JSON, or has a coding that the storefront can't decode.
    UnsupportedMediaType,
    /// The same key came with another request before.
    IdempotencyKeyReused,
    /// There is nothing at this address.
    NotFound,
    /// The address doesn't take this method.
    MethodNotAllowed,
    /// The store can't answer at present.
    Unavailable,
    /// The storefront has a fault.
    Internal,
}

/// When a client may ask again.
const RETRY_AFTER_SECONDS: &str = "1";

impl ProblemKind {
    /// The name that `type` ends in, the status, and a title.
    const fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::OrderCancelled => ("order-cancelled", StatusCode::CONFLICT, "The order is cancelled"),
            Self::OrderEmpty => ("order-empty", StatusCode::CONFLICT, "The order needs an item"),
            Self::OrderFull => ("order-full", StatusCode::CONFLICT, "The order is full"),
            Self::VersionConflict => {
                ("version-conflict", StatusCode::PRECONDITION_FAILED, "The order has changed meanwhile")
            }
            Self::OrderNotFound => ("order-not-found", StatusCode::NOT_FOUND, "There is no such order"),
            Self::ItemNotFound => ("item-not-found", StatusCode::NOT_FOUND, "The order has no such item"),
            Self::InvalidRequest => ("invalid-request", StatusCode::UNPROCESSABLE_ENTITY, "The request is not valid"),
            Self::RequestTimeout => ("request-timeout", StatusCode::REQUEST_TIMEOUT, "The request took too long"),
            Self::RequestTooLarge => ("request-too-large", StatusCode::PAYLOAD_TOO_LARGE, "The request is too large"),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be JSON that can be decoded",
            ),
            Self::IdempotencyKeyReused => (
                "idempotency-key-reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The Idempotency-Key belongs to another request",
            ),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is nothing here"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "The address does not take this method")
            }
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "The store can't answer at present"),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "The storefront has a fault"),
        }
    }
}

impl Problem {
    /// A problem with an explanation for people.
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), members: Map::new() }
    }

    /// A part of the request is wrong: its name, and what would be right.
    pub(crate) fn invalid(field: &str, what_is_right: impl std::fmt::Display) -> Self {
        Self::new(ProblemKind::InvalidRequest, format!("{field}: {what_is_right}")).with("field", field)
    }

    /// With a further member for programs.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }
}

impl Problem {
    /// The status and the body of the answer.
    pub(crate) fn into_parts(self) -> (StatusCode, impl Serialize) {
        let (name, status, title) = self.kind.parts();
        let body = Body {
            // Relative to the address of the API, as RFC 9457 allows: a copy of this program has no address of its own.
            kind: format!("/problems/{name}"),
            title,
            status: status.as_u16(),
            detail: self.detail,
            members: self.members,
        };
        (status, body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, body) = self.into_parts();
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let more = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER_SECONDS)),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Some((header::ACCEPT_ENCODING, "gzip, deflate")),
            _ => None,
        };
        headers.extend(more.map(|(name, value)| (name, HeaderValue::from_static(value))));
        response
    }
}

#[derive(Serialize)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(flatten)]
    members: Map<String, Value>,
}

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
