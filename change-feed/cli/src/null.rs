//! A publisher that takes everything and keeps nothing: to see how fast a source is.

use async_trait::async_trait;
use change_feed::{Part, PublishError, Publisher};

#[derive(Debug)]
pub(crate) struct NullPublisher;

#[async_trait]
impl Publisher for NullPublisher {
    async fn publish(&self, _part: &Part<'_>) -> Result<(), PublishError> {
        Ok(())
    }
}
