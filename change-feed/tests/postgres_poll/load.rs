//! Writers that make it hard: few carts, transactions that get their id early and commit late, some that roll back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::postgres_poll::world::{World, append};

const WRITERS: usize = 8;
const HOT_CARTS: usize = 4;

/// Commits `commits` transactions, and rolls back some more, by [`WRITERS`] at once.
pub(crate) async fn write(world: &World, commits: usize) {
    let carts = world.carts(HOT_CARTS).await;
    let committed = AtomicUsize::new(0);
    let writers = (0..WRITERS).map(|_| async {
        let mut connection = world.connection().await;
        while committed.fetch_add(1, Ordering::SeqCst) < commits {
            while !transact(&mut connection, &carts).await {}
        }
    });
    futures::future::join_all(writers).await;
}

/// One transaction; `false` if it rolled back.
async fn transact(connection: &mut PgConnection, carts: &[Uuid]) -> bool {
    let mut transaction = connection.begin().await.expect("a transaction");
    if fastrand::u8(..) < 100 {
        // Its place among the ids is fixed here, its place among the commits far from it.
        sqlx::query("select pg_current_xact_id()").execute(&mut *transaction).await.expect("an id");
        pause(15_000).await;
    }
    // In the order of the carts, so that nobody waits in a circle.
    let first = fastrand::usize(..carts.len());
    let events = if fastrand::u8(..) < 60 { 2 } else { 1 };
    for &cart in carts.iter().skip(first).take(events) {
        append(&mut transaction, cart, "{}").await;
        pause(1_500).await;
    }
    if fastrand::u8(..) < 25 {
        transaction.rollback().await.expect("a rollback");
        return false;
    }
    transaction.commit().await.expect("a commit");
    true
}

/// A pause of at most `microseconds`, mostly much shorter.
async fn pause(microseconds: u64) {
    let longest = fastrand::u64(0..=microseconds);
    tokio::time::sleep(Duration::from_micros(fastrand::u64(0..=longest))).await;
}
