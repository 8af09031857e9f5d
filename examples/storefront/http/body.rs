//! The body of a request, read so that a mistake is told with the field that it is in.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::problem::{Problem, ProblemKind};

/// No command needs more.
pub(crate) const BODY_MAX_BYTES: usize = 16 * 1024;

/// A JSON object of the shape `T`.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = declares_json(request.headers());
        let bytes = Bytes::from_request(request, state).await.map_err(unreadable)?;
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

fn unreadable(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("no request needs more than {BODY_MAX_BYTES} bytes");
        return Problem::new(ProblemKind::RequestTooLarge, detail);
    }
    Problem::new(ProblemKind::InvalidRequest, "the body ended before it was complete")
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
    use serde::Deserialize;

    use super::*;
    use order_domain::{Quantity, Sku};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        sku: Sku,
        quantity: Quantity,
    }

    #[test]
    fn a_mistake_is_told_with_the_field_that_it_is_in() {
        for (json, words) in [
            (r#"{"sku":"a b","quantity":1}"#, "sku"),
            (r#"{"sku":"milk","quantity":1000}"#, "quantity"),
            (r#"{"sku":"milk","quantity":"1"}"#, "quantity"),
            (r#"{"sku":"milk","quantity":1.5}"#, "quantity"),
            (r#"{"sku":"milk"}"#, "quantity"),
            (r#"{"sku":"milk","quantity":1,"colour":"white"}"#, "colour"),
            (r#"{"sku":"milk","quantity":1"#, "JSON"),
            (r#"{"sku":"milk","quantity":1}{}"#, "JSON"),
            ("[]", "object"),
            (r#"["milk",1]"#, "object"),
            ("\"milk\"", "Item"),
            ("\u{0}", "JSON"),
        ] {
            let problem = parse::<Item>(json.as_bytes()).expect_err(json);
            let told = format!("{problem:?}");
            assert!(told.contains(words), "{json}: {told}");
        }
        assert!(parse::<Item>(&[0xff, 0xfe]).is_err());
        let item: Item = parse(br#"{"sku":"milk","quantity":1}"#).expect("an item");
        assert_eq!((item.sku.as_str(), item.quantity.get()), ("milk", 1));
    }
}
