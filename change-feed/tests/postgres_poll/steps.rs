//! What the tests of one source do again and again.

use std::time::Duration;

use change_feed::{
    Change, Changes, Checkpoint, Epoch, FeedIdentity, Position, PostgresPollSource, PublisherIdentity, Source,
    SourceIdentity,
};
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use crate::postgres_poll::world::{PATIENCE, World, append, feed};

impl World {
    pub(crate) async fn run(&self, sql: &str) {
        self.pool
            .execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// One committed transaction with an event for each of `carts`, in this order.
    pub(crate) async fn change(&self, carts: &[Uuid]) {
        let mut transaction = self.pool.begin().await.expect("a transaction");
        for &cart in carts {
            append(&mut transaction, cart, "{}").await;
        }
        transaction.commit().await.expect("a commit");
    }

    /// The whole history through `source`, which is started at its origin.
    pub(crate) async fn all_of(&self, source: &PostgresPollSource) -> Vec<Change> {
        let expected = self.history().await.len();
        let mut changes = Vec::new();
        while changes.len() < expected {
            changes.extend(next(source).await.changes);
        }
        changes
    }
}

/// The next changes, which are expected to come.
pub(crate) async fn next(source: &PostgresPollSource) -> Changes {
    let next = tokio::time::timeout(PATIENCE, source.next()).await.expect("changes come");
    next.expect("the source works")
}

/// That nothing comes for a while in which the source looks several times.
pub(crate) async fn nothing_comes(source: &PostgresPollSource) {
    let waited = tokio::time::timeout(Duration::from_millis(600), source.next()).await;
    assert!(waited.is_err(), "came: {waited:?}");
}

/// A checkpoint as a relay would store it.
pub(crate) fn checkpoint(source: SourceIdentity, position: Position) -> Checkpoint {
    let publisher = PublisherIdentity::new("memory", "test");
    Checkpoint::new(FeedIdentity::new(feed(), Epoch::FIRST, source, publisher), position)
}
