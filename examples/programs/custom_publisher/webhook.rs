//! A custom publisher: it sends every event as one HTTP request, in the binary mode of CloudEvents.

use async_trait::async_trait;
use change_feed::{Envelope, Part, PublishError, Publisher};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode};

/// Delivers at least once: an event whose answer was lost comes again, with the same `ce-id`.
pub(crate) struct Webhook {
    pub(crate) client: Client,
    pub(crate) url: String,
}

#[async_trait]
impl Publisher for Webhook {
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError> {
        for (index, envelope) in part.envelopes().iter().enumerate() {
            let Some(headers) = cloud_event_headers(envelope) else {
                return Err(PublishError::rejected(index, "a value that can't stand in an HTTP header"));
            };
            let request = self.client.post(&self.url).headers(headers).body(envelope.payload());
            match request.send().await.map_err(PublishError::transient)?.status() {
                status if status.is_success() => {}
                StatusCode::PAYLOAD_TOO_LARGE => return Err(PublishError::rejected(index, "payload too large")),
                StatusCode::UNAUTHORIZED => return Err(PublishError::fatal("the webhook refused the credentials")),
                status => return Err(PublishError::transient(format!("the webhook answered {status}"))),
            }
        }
        Ok(())
    }
}

/// Writes the headers with `ce-id` in place of `ce_id`, because some proxies drop names with an underscore. `None` if a value is
/// not allowed in a header.
fn cloud_event_headers(envelope: &Envelope) -> Option<HeaderMap> {
    let header = |(name, value): (&str, String)| {
        let name = HeaderName::try_from(name.replace('_', "-")).ok()?;
        Some((name, HeaderValue::try_from(value).ok()?))
    };
    envelope.headers().into_iter().map(header).collect()
}
