//! What a client is told when the answer is no: `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// Why a request was not done, in words and in a form for programs.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: ProblemKind,
    detail: String,
    members: Map<String, Value>,
}

/// The kinds of problem: the last word of `type`, and the status.
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
    /// The body is larger than any that the store needs.
    RequestTooLarge,
    /// The body is not declared as JSON.
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

/// After so long a client may ask again.
const RETRY_AFTER_SECONDS: &str = "1";

impl ProblemKind {
    /// The name that `type` ends in, the status, and a title.
    const fn told(self) -> (&'static str, StatusCode, &'static str) {
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
            Self::RequestTooLarge => ("request-too-large", StatusCode::PAYLOAD_TOO_LARGE, "The request is too large"),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be JSON")
            }
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

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (name, status, title) = self.kind.told();
        let body = Told {
            // Relative to the address of the API, as RFC 9457 allows: a copy of this program has no address of its own.
            kind: format!("/problems/{name}"),
            title,
            status: status.as_u16(),
            detail: self.detail,
            members: self.members,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

#[derive(Serialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(flatten)]
    members: Map<String, Value>,
}
