//! What a request says: which order its address names, under which conditions, and with which body.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Request as HttpRequest};
use axum::http::header::{self, HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use order_domain::{ItemId, OrderId};
use order_store::{OrderStore, Request, RequestId};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::etag::{EntityTag, EntityTags, no_match};
use super::problem::{Problem, ProblemKind};

/// No command needs more, counted after decompression.
pub(crate) const BODY_MAX_BYTES: usize = 16 * 1024;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The order of `/orders/{order_id}`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrderAt(pub(crate) OrderId);

/// The item of `/orders/{order_id}/items/{item_id}`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemAt(pub(crate) OrderId, pub(crate) ItemId);

impl<S: Send + Sync> FromRequestParts<S> for OrderAt {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(order_id) = Path::<String>::from_request_parts(parts, state).await.map_err(malformed_address)?;
        Ok(Self(id("order_id", &order_id)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ItemAt {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((order_id, item_id)) = path.map_err(malformed_address)?;
        Ok(Self(id("order_id", &order_id)?, id("item_id", &item_id)?))
    }
}

/// Reads an id of an address.
pub(crate) fn id<T>(field: &str, text: &str) -> Result<T, Problem>
where
    T: std::str::FromStr<Err = order_domain::InvalidValue>,
{
    text.parse().map_err(|error| Problem::invalid(field, error))
}

fn malformed_address(rejection: PathRejection) -> Problem {
    Problem::new(ProblemKind::InvalidRequest, format!("the address can't be read: {}", rejection.body_text()))
}

/// The conditions of a change: `Idempotency-Key`, `If-Match`, `If-None-Match`, and the trace that it belongs to.
#[derive(Debug)]
pub(crate) struct Conditions {
    /// What the store checks by itself, in the change's own statement.
    request: Request,
    /// Tags of which not exactly one names a version.
    if_match: Option<EntityTags>,
    if_none_match: Option<EntityTags>,
}

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::parse(&parts.headers)
    }
}

impl Conditions {
    fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut request = Request::new();
        if let Some(text) = single(headers, &IDEMPOTENCY_KEY)? {
            // Those who follow the draft of the header `Idempotency-Key` quote the key.
            let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
            let id = RequestId::new(text);
            request = request.id(id.map_err(|error| Problem::invalid("Idempotency-Key", error))?);
        }
        if let Some(text) = headers.get(&TRACEPARENT).and_then(|value| value.to_str().ok()) {
            // The W3C asks to leave out a malformed trace context: an order is not refused for it.
            request = request.traceparent(text);
        }
        let mut if_match = None;
        if let Ok(Some(Ok(version))) = single(headers, &IF_MATCH).map(|text| text.map(str::parse)) {
            // Without quotes it is not an entity tag, and yet clear.
            request = request.expecting(version);
        } else {
            match EntityTags::from_header(headers, &IF_MATCH)? {
                // An order that is not there is not found, with or without this condition.
                None | Some(EntityTags::Any) => {}
                Some(EntityTags::List(tags)) if tags.len() == 1 && tags[0].is_strong() => {
                    let what_is_right = r#"the version as the ETag gave it, like "3""#;
                    let version = tags[0].version().ok_or_else(|| Problem::invalid("If-Match", what_is_right))?;
                    request = request.expecting(version);
                }
                tags => if_match = tags,
            }
        }
        let if_none_match = EntityTags::from_header(headers, &IF_NONE_MATCH)?;
        Ok(Self { request, if_match, if_none_match })
    }

    /// The store's request for a new order, which has no version that could match.
    pub(crate) fn of_new_order(self) -> Result<Request, Problem> {
        if self.if_match.is_some() || self.request.expected_version().is_some() {
            return Err(Problem::invalid("If-Match", "nothing: a new order has no version yet"));
        }
        Ok(self.request)
    }

    /// The store's request for a change of an order.
    ///
    /// One strong tag is compared by the store, in the statement of the change. For other conditions the order is read
    /// first, and the change then expects the version that fits, so that nothing can come in between.
    pub(crate) async fn of_change(self, store: &dyn OrderStore, order_id: OrderId) -> Result<Request, Problem> {
        let Self { request, if_match, if_none_match } = self;
        if if_match.is_none() && if_none_match.is_none() {
            return Ok(request);
        }
        let current = store.get(order_id).await?.version();
        let tag = EntityTag::of_version(current);
        if if_none_match.is_some_and(|tags| tags.contain_weakly(&tag)) {
            let detail = format!("If-None-Match: the order's ETag is {tag}");
            return Err(Problem::new(ProblemKind::VersionConflict, detail).with("actual", current.get()));
        }
        let Some(EntityTags::List(tags)) = if_match else {
            return Ok(if request.expected_version().is_some() { request } else { request.expecting(current) });
        };
        if tags.contains(&tag) {
            return Ok(request.expecting(current));
        }
        // The store refuses a version that is not the present one, unless it did this very request before.
        let other = tags.iter().filter_map(EntityTag::version).find(|version| *version != current);
        let other = other.ok_or_else(|| no_match(&tag).with("actual", current.get()))?;
        Ok(request.expecting(other))
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text.trim())),
        _ => Err(Problem::invalid(name.as_str(), "one value, in ASCII")),
    }
}

/// The body: a JSON object of the shape `T`.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: HttpRequest, state: &S) -> Result<Self, Problem> {
        // The layer below has decoded the codings that it knows, and removed the header.
        if let Some(coding) = request.headers().get(header::CONTENT_ENCODING)
            && !coding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            let detail = "send the body as it is, or with Content-Encoding: gzip or deflate";
            return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
        }
        let is_json = declares_json(request.headers());
        let bytes = timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await.map_err(|_| {
            let detail = format!("the body was not complete after {} seconds", BODY_TIMEOUT.as_secs());
            Problem::new(ProblemKind::RequestTimeout, detail)
        })?;
        let bytes = bytes.map_err(incomplete_body)?;
        if !is_json && !bytes.is_empty() {
            let detail = "send the body with the header Content-Type: application/json";
            return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
        }
        // A command without arguments needs no body.
        parse(if bytes.is_empty() { b"{}" } else { &bytes }).map(Self)
    }
}

/// Browsers send a form to any address without asking; they ask before they send what is declared as JSON.
fn declares_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn incomplete_body(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("no request needs more than {BODY_MAX_BYTES} bytes");
        return Problem::new(ProblemKind::RequestTooLarge, detail);
    }
    let detail = "the body ended before it was complete, or its Content-Encoding is another one";
    Problem::new(ProblemKind::InvalidRequest, detail)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde would take a list for an object whose fields come in their order.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::new(ProblemKind::InvalidRequest, "the body is a list, where a JSON object is expected"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let field = error.path().to_string();
        explain(&field, error.inner())
    })?;
    reader.end().map_err(|error| explain(".", &error))?;
    Ok(value)
}

/// The field's path is `.` where the whole object is meant; serde's words then name the field.
fn explain(field: &str, error: &serde_json::Error) -> Problem {
    if error.is_syntax() || error.is_eof() {
        return Problem::new(ProblemKind::InvalidRequest, format!("the body is not valid JSON: {error}"));
    }
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    match field {
        "." => Problem::new(ProblemKind::InvalidRequest, words),
        field => Problem::invalid(field, words),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use order_domain::{Quantity, Sku, Version};
    use serde::Deserialize;

    use super::*;

    fn of(headers: &[(&'static str, &str)]) -> Result<Conditions, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header's value");
            map.append(HeaderName::from_static(name), value);
        }
        Conditions::parse(&map)
    }

    #[test]
    fn headers_become_the_stores_request() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let headers = [("idempotency-key", "\"a-1\""), ("if-match", "\"3\""), ("traceparent", traceparent)];
        let Conditions { request, if_match, if_none_match } = of(&headers).expect("valid headers");
        assert_eq!(request.request_id().map(RequestId::as_str), Some("a-1"));
        assert_eq!(request.expected_version().map(Version::get), Some(3));
        assert_eq!(request.trace_context(), Some(traceparent));
        assert!(if_match.is_none() && if_none_match.is_none());
    }

    #[test]
    fn bare_values_are_accepted_too_and_a_star_expects_nothing() {
        let conditions = of(&[("idempotency-key", "a-1"), ("if-match", "3")]).expect("valid headers");
        assert_eq!(conditions.request.expected_version().map(Version::get), Some(3));
        let conditions = of(&[("if-match", "*"), ("traceparent", "nonsense")]).expect("valid headers");
        assert_eq!((conditions.request, conditions.if_match), (Request::new(), None));
    }

    #[test]
    fn a_list_in_one_line_or_in_several_is_left_to_the_orders_version() {
        for headers in [&[("if-match", "\"1\", W/\"2\"")][..], &[("if-match", "\"1\""), ("if-match", "W/\"2\"")]] {
            let conditions = of(headers).expect("valid headers");
            assert_eq!(conditions.request.expected_version(), None);
            assert!(matches!(conditions.if_match, Some(EntityTags::List(tags)) if tags.len() == 2));
        }
    }

    #[test]
    fn headers_that_say_nothing_clear_are_refused() {
        for header in [
            ("if-match", "\"three\""),
            ("if-match", ""),
            ("if-match", "0"),
            ("if-match", "\"1\" \"2\""),
            ("if-match", "é"),
            ("if-none-match", "3"),
            ("idempotency-key", "two words"),
            ("idempotency-key", ""),
        ] {
            assert!(of(&[header]).is_err(), "{header:?}");
        }
        assert!(of(&[("if-match", "1"), ("if-match", "2")]).is_err());
        assert!(of(&[("idempotency-key", "a"), ("idempotency-key", "b")]).is_err());
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        sku: Sku,
        quantity: Quantity,
    }

    #[test]
    fn a_mistake_is_answered_with_the_field_that_it_is_in() {
        for (json, words) in [
            (r#"{"sku":"a b","quantity":1}"#, "sku"),
            (r#"{"sku":"milk","quantity":1000}"#, "quantity"),
            (r#"{"sku":"milk","quantity":"1"}"#, "quantity"),
            (r#"{"sku":"milk","quantity":1.5}"#, "quantity"),
            (r#"{"sku":"milk"}"#, "quantity"),
            (r#"{"sku":"milk","sku":"milk","quantity":1}"#, "sku"),
            (r#"{"sku":"milk","quantity":1,"colour":"white"}"#, "colour"),
            (r#"{"sku":"milk","quantity":1"#, "JSON"),
            (r#"{"sku":"milk","quantity":1}{}"#, "JSON"),
            ("[]", "object"),
            (r#"["milk",1]"#, "object"),
            ("\"milk\"", "Item"),
            ("\u{0}", "JSON"),
        ] {
            let problem = parse::<Item>(json.as_bytes()).expect_err(json);
            let shown = format!("{problem:?}");
            assert!(shown.contains(words), "{json}: {shown}");
        }
        assert!(parse::<Item>(&[0xff, 0xfe]).is_err());
        let item: Item = parse(br#"{"sku":"milk","quantity":1}"#).expect("an item");
        assert_eq!((item.sku.as_str(), item.quantity.get()), ("milk", 1));
    }
}
