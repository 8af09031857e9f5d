//! What the handlers share.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use change_feed::Wake;
use order_domain::Order;
use order_store::OrderStore;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::orders::shown;
use crate::catch_up::CatchUp;
use crate::feed::FeedWatch;
use crate::journal::Journal;
use crate::page::Surroundings;

/// So many clients can follow the live feed at a time.
const FOLLOWERS_MAX: usize = 512;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Shop {
    store: Arc<dyn OrderStore>,
    wake: Wake,
    /// The feed that this process relays or stands by for.
    pub(crate) feed: FeedWatch,
    /// What came back from the broker.
    pub(crate) journal: Journal,
    /// What came back before that.
    pub(crate) catch_up: CatchUp,
    /// What the page says of database and broker.
    pub(crate) around: Arc<Surroundings>,
    /// One permit for each client that may follow the live feed.
    pub(crate) followers: Arc<Semaphore>,
    /// Cancelled when the storefront ends.
    pub(crate) closing: CancellationToken,
}

impl Shop {
    /// The handlers' share of a storefront.
    pub(crate) fn new(
        store: Arc<dyn OrderStore>,
        wake: Wake,
        feed: FeedWatch,
        journal: Journal,
        catch_up: CatchUp,
        around: Surroundings,
        closing: CancellationToken,
    ) -> Self {
        let followers = Arc::new(Semaphore::new(FOLLOWERS_MAX));
        Self { store, wake, feed, journal, catch_up, around: Arc::new(around), followers, closing }
    }

    /// The store.
    pub(crate) fn store(&self) -> &dyn OrderStore {
        &*self.store
    }

    /// Answers with the order that a change left, and lets the feed know that there is something to publish.
    pub(crate) fn changed(&self, status: StatusCode, order: &Order) -> Response {
        self.wake.wake();
        shown(status, order)
    }
}
