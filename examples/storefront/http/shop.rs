//! What the handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use change_feed::Wake;
use order_domain::Order;
use order_store::{OrderStore, StoreError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::catch_up::CatchUp;
use crate::database::Database;
use crate::feed::FeedWatch;
use crate::journal::Journal;

/// The most clients that can follow the live feed at a time.
const FOLLOWERS_MAX: usize = 512;

/// What the page says of the servers.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// The database, in words.
    pub(crate) database: String,
    /// The broker, in words.
    pub(crate) broker: String,
    /// The topic.
    pub(crate) topic: String,
}

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Shop {
    store: Arc<dyn OrderStore>,
    /// The database below the store.
    pub(crate) database: Database,
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
    /// Whether the store failed at the last change, and has not shown since that it can write.
    changes_fail: Arc<AtomicBool>,
}

impl Shop {
    /// The handlers' share of a storefront.
    pub(crate) fn new(
        database: Database,
        wake: Wake,
        feed: FeedWatch,
        journal: Journal,
        catch_up: CatchUp,
        around: Surroundings,
        closing: CancellationToken,
    ) -> Self {
        let followers = Arc::new(Semaphore::new(FOLLOWERS_MAX));
        let (store, changes_fail) = (database.store(), Arc::default());
        let around = Arc::new(around);
        Self { store, database, wake, feed, journal, catch_up, around, followers, closing, changes_fail }
    }

    /// The store.
    pub(crate) fn store(&self) -> &dyn OrderStore {
        &*self.store
    }

    /// Whether the store failed at the last change, and has not shown since that it can write.
    pub(crate) fn changes_fail(&self) -> bool {
        self.changes_fail.load(Ordering::Relaxed)
    }

    /// Notes whether the store can write.
    pub(crate) fn note_changes_fail(&self, fail: bool) {
        self.changes_fail.store(fail, Ordering::Relaxed);
    }

    /// Passes on what the store answered to a change. Lets the feed know of a new event, and notes a store that fails.
    pub(crate) fn changed(&self, answer: Result<Order, StoreError>) -> Result<Order, StoreError> {
        match &answer {
            Ok(_) => {
                self.note_changes_fail(false);
                self.wake.wake();
            }
            Err(StoreError::Refused(_)) => {}
            Err(_) => self.note_changes_fail(true),
        }
        answer
    }
}

#[cfg(test)]
impl Shop {
    /// A shop on this store, with an unused database and a broker that nobody connects to.
    pub(crate) async fn for_tests(file: &std::path::Path, store: impl OrderStore + 'static) -> Self {
        use crate::broker::Broker;
        use crate::database::DatabaseUrl;

        let url = DatabaseUrl::parse(&format!("sqlite:{}", file.display())).expect("a URL");
        let database = Database::open(&url, Wake::new()).await.expect("a database");
        let brokers = "127.0.0.1:9".parse().expect("an address");
        let broker = Broker::start(Some(brokers), "orders").expect("a broker");
        let around = Surroundings { database: String::new(), broker: String::new(), topic: String::new() };
        let catch_up = CatchUp::new(broker, "orders");
        let feed = FeedWatch::of_no_feed();
        let shop = Self::new(database, Wake::new(), feed, Journal::new(), catch_up, around, CancellationToken::new());
        Self { store: Arc::new(store), ..shop }
    }
}
