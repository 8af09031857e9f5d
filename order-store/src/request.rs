//! Requests: id, expected version and trace context of a change.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use order_domain::{OrderId, Version};
use thiserror::Error;

/// Id, expected version and trace context of a change, each optional.
///
/// ```
/// use order_domain::Version;
/// use order_store::{Request, RequestId};
///
/// let request = Request::new()
///     .id(RequestId::new("7d0c9b1e-add-milk")?)
///     .expecting(Version::new(3)?)
///     .traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
/// assert_eq!(request.expected_version(), Some(Version::new(3)?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Request {
    id: Option<RequestId>,
    expected_version: Option<Version>,
    traceparent: Option<String>,
}

impl Request {
    /// A request without id, expected version and trace context.
    #[must_use]
    pub const fn new() -> Self {
        Self { id: None, expected_version: None, traceparent: None }
    }

    /// Sets the id: repeated under it, the change is answered as the first time, and not made twice.
    #[must_use]
    pub fn id(mut self, id: RequestId) -> Self {
        self.id = Some(id);
        self
    }

    /// Refuses the change unless the order has this version (HTTP's `If-Match`). Creating ignores it.
    #[must_use]
    pub const fn expecting(mut self, version: Version) -> Self {
        self.expected_version = Some(version);
        self
    }

    /// Sets the trace context: the W3C's [`traceparent`](https://www.w3.org/TR/trace-context/#traceparent-header), which goes
    /// into the outbox and on to the consumers. As the standard demands, an invalid one is dropped.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into()).filter(|text| is_traceparent(text));
        self
    }

    /// The id, if set.
    #[must_use]
    pub const fn request_id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// The expected version, if set.
    #[must_use]
    pub const fn expected_version(&self) -> Option<Version> {
        self.expected_version
    }

    /// The trace context, if set.
    #[must_use]
    pub fn trace_context(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }
}

/// Names a request, so that it can be repeated without being done twice. Chosen by the client, like HTTP's
/// `Idempotency-Key`: 1 to [`RequestId::MAX_LENGTH`] visible ASCII characters, unique among all requests.
///
/// ```
/// use order_store::{InvalidRequestId, RequestId};
///
/// assert_eq!(RequestId::new("01998f3e-7c00")?.as_str(), "01998f3e-7c00");
/// assert_eq!(RequestId::new("two words"), Err(InvalidRequestId));
/// # Ok::<(), InvalidRequestId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// The most characters that it can have.
    pub const MAX_LENGTH: usize = 200;

    /// Checks an id that a client chose.
    ///
    /// # Errors
    /// [`InvalidRequestId`].
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, InvalidRequestId> {
        let text = text.into();
        let legal = (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if legal { Ok(Self(text)) } else { Err(InvalidRequestId) }
    }

    /// A new id: a UUID of version 7.
    #[must_use]
    pub fn generate(now: DateTime<Utc>) -> Self {
        Self(OrderId::generate(now).to_string().into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, InvalidRequestId> {
        Self::new(text)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// A text that is no request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a request id has 1 to {} visible ASCII characters", RequestId::MAX_LENGTH)]
pub struct InvalidRequestId;

/// Version, trace id, parent id and flags in lower-case hexadecimal digits; later versions may add more after a hyphen.
fn is_traceparent(text: &str) -> bool {
    const LENGTHS: [usize; 4] = [2, 32, 16, 2];
    const LENGTH_LIMIT: usize = 255;
    let mut fields = text.split('-');
    let hexadecimal = |field: &str| field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let fits =
        LENGTHS.iter().all(|length| fields.next().is_some_and(|field| field.len() == *length && hexadecimal(field)));
    fits && (!text.starts_with("00") || fields.next().is_none()) && text.len() <= LENGTH_LIMIT && text.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_request_id_has_1_to_200_visible_ascii_characters() {
        assert!(RequestId::new("k").is_ok());
        assert!(RequestId::new("k".repeat(200)).is_ok());
        for refused in ["", " ", "two words", "a\n", "\u{e9}", "a\0b"] {
            assert_eq!(RequestId::new(refused), Err(InvalidRequestId), "{refused:?}");
        }
        assert_eq!(RequestId::new("k".repeat(201)), Err(InvalidRequestId));
    }

    #[test]
    fn a_trace_context_is_kept_if_it_is_one() {
        let later = format!("cc-{}-what-else", &TRACEPARENT[3..]);
        for kept in [TRACEPARENT, later.as_str()] {
            assert_eq!(Request::new().traceparent(kept).trace_context(), Some(kept));
        }
        let longer = format!("{TRACEPARENT}-more");
        let huge = format!("cc-{}-{}", &TRACEPARENT[3..], "x".repeat(300));
        for dropped in ["", "hello", &TRACEPARENT[..54], &TRACEPARENT.to_uppercase(), &longer, &huge] {
            assert_eq!(Request::new().traceparent(dropped).trace_context(), None, "{dropped}");
        }
    }
}
