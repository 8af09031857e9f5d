//! The end of a producer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::producer::{Producer as _, PurgeConfig};
use tokio::task::JoinHandle;

use super::producer::Producer;
use crate::kafka::deadline::retire;

/// How long an abandoned transaction may take to abort. The next start aborts it in any case.
const ABORT_LIMIT: Duration = Duration::from_secs(3);

/// The end of a session's producer. The next session waits for it: the records that the old producer still had
/// to send must not arrive after those of the new one.
#[derive(Debug, Default)]
pub(super) struct Closing {
    closing: Mutex<Option<JoinHandle<()>>>,
}

impl Closing {
    /// Drops the records that the producer has not delivered, and aborts its transaction if it must, so that `read_committed`
    /// readers don't wait for the cluster to do so.
    pub(super) fn begin(&self, producer: Arc<Producer>, must_abort: bool) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => *self.lock() = Some(runtime.spawn_blocking(move || close(producer, must_abort))),
            Err(_) => close(producer, must_abort),
        }
    }

    /// Waits for the end of the last producer, for a while.
    pub(super) async fn wait(&self) {
        let closing = self.lock().take();
        if let Some(closing) = closing
            && tokio::time::timeout(2 * ABORT_LIMIT, closing).await.is_err()
        {
            tracing::warn!(target: "change_feed::kafka", "the last producer does not end: going on without waiting for it");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        // An option is whole at any time: a panic elsewhere can't have left half of it.
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn close(producer: Arc<Producer>, must_abort: bool) {
    producer.context().log().hush();
    producer.purge(PurgeConfig::default().queue().inflight());
    if must_abort && let Err(error) = producer.abort_transaction(ABORT_LIMIT) {
        tracing::debug!(target: "change_feed::kafka", %error, "left a transaction to the next producer to abort");
    }
    retire(producer);
}
