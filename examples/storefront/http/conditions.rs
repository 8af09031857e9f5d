//! What the headers of a change ask for: once only, only at this version, in this trace.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH};
use axum::http::request::Parts;
use order_domain::Version;
use order_store::{Request, RequestId};

use super::problem::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The store's request, as `Idempotency-Key`, `If-Match` and `traceparent` make it.
#[derive(Debug)]
pub(crate) struct Conditions(pub(crate) Request);

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        conditions(&parts.headers).map(Self)
    }
}

fn conditions(headers: &HeaderMap) -> Result<Request, Problem> {
    let mut request = Request::new();
    if let Some(text) = single(headers, &IDEMPOTENCY_KEY)? {
        let id = RequestId::new(unquoted(text));
        request = request.id(id.map_err(|error| Problem::invalid("Idempotency-Key", error))?);
    }
    if let Some(text) = single(headers, &IF_MATCH)?.filter(|text| *text != "*") {
        let version = unquoted(text).parse::<Version>();
        let what_is_right = r#"the version as the ETag gave it, like "3""#;
        request = request.expecting(version.map_err(|_| Problem::invalid("If-Match", what_is_right))?);
    }
    if let Some(text) = headers.get(&TRACEPARENT).and_then(|value| value.to_str().ok()) {
        // What is no trace context is left out, as the W3C asks for: it is no reason to refuse an order.
        request = request.traceparent(text);
    }
    Ok(request)
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

/// Entity tags are quoted, and so are keys for those who follow the draft of the header `Idempotency-Key`.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(headers: &[(&'static str, &str)]) -> Result<Request, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header's value"));
        }
        conditions(&map)
    }

    #[test]
    fn headers_become_the_stores_request() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let request = of(&[("idempotency-key", "\"a-1\""), ("if-match", "\"3\""), ("traceparent", traceparent)]);
        let request = request.expect("valid headers");
        assert_eq!(request.request_id().map(RequestId::as_str), Some("a-1"));
        assert_eq!(request.expected_version().map(Version::get), Some(3));
        assert_eq!(request.trace_context(), Some(traceparent));
    }

    #[test]
    fn bare_values_are_taken_too_and_a_star_expects_nothing() {
        let request = of(&[("idempotency-key", "a-1"), ("if-match", "3")]).expect("valid headers");
        assert_eq!(request.expected_version().map(Version::get), Some(3));
        assert_eq!(of(&[("if-match", "*"), ("traceparent", "nonsense")]).expect("valid headers"), Request::new());
    }

    #[test]
    fn headers_that_say_nothing_clear_are_refused() {
        for header in [
            ("if-match", "W/\"3\""),
            ("if-match", "\"three\""),
            ("if-match", "\"1\", \"2\""),
            ("if-match", ""),
            ("idempotency-key", "two words"),
            ("idempotency-key", ""),
        ] {
            assert!(of(&[header]).is_err(), "{header:?}");
        }
        assert!(of(&[("if-match", "1"), ("if-match", "2")]).is_err());
    }
}
