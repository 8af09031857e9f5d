//! Who may change now: few at once for one order, and never the whole pool.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use std::sync::Arc;

use order_domain::OrderId;
use tokio::sync::{Semaphore, SemaphorePermit};

/// One change works and the next one waits for its lock: more would only hold connections.
const TURNS_PER_ORDER: usize = 2;

/// Hands out turns to changes, so that an order that is locked holds few connections, and reads always find one.
#[derive(Debug)]
pub(super) struct Turns {
    /// The orders that somebody changes or waits for.
    queues: Mutex<HashMap<OrderId, Queue>>,
    /// All changes together: fewer than the pool has connections.
    changes: Semaphore,
}

#[derive(Debug)]
struct Queue {
    members: usize,
    turns: Arc<Semaphore>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'t> {
    _change: SemaphorePermit<'t>,
    _of_order: tokio::sync::OwnedSemaphorePermit,
    _membership: Membership<'t>,
}

impl Turns {
    /// For a pool of this many connections, of which a fifth is kept for reads.
    pub(super) fn of_pool(connections: u32) -> Self {
        let connections = usize::try_from(connections).unwrap_or(Semaphore::MAX_PERMITS);
        let changes = (connections - connections.div_ceil(5)).clamp(1, Semaphore::MAX_PERMITS);
        Self { queues: Mutex::default(), changes: Semaphore::new(changes) }
    }

    /// Waits for a turn to change this order.
    pub(super) async fn enter(&self, order_id: OrderId) -> Option<Turn<'_>> {
        let membership = Membership::join(self, order_id);
        // First the order's turn: who waits for that keeps nobody else from changing another order.
        let of_order = Arc::clone(&membership.turns).acquire_owned().await.ok()?;
        let change = self.changes.acquire().await.ok()?;
        Some(Turn { _change: change, _of_order: of_order, _membership: membership })
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<OrderId, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps an order's queue in the map while somebody is in it.
#[derive(Debug)]
struct Membership<'t> {
    all: &'t Turns,
    order_id: OrderId,
    turns: Arc<Semaphore>,
}

impl<'t> Membership<'t> {
    fn join(all: &'t Turns, order_id: OrderId) -> Self {
        let mut queues = all.queues();
        let queue = queues
            .entry(order_id)
            .or_insert_with(|| Queue { members: 0, turns: Arc::new(Semaphore::new(TURNS_PER_ORDER)) });
        queue.members += 1;
        let turns = Arc::clone(&queue.turns);
        Self { all, order_id, turns }
    }
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        let mut queues = self.all.queues();
        if let Some(queue) = queues.get_mut(&self.order_id) {
            queue.members -= 1;
            if queue.members == 0 {
                queues.remove(&self.order_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_order_has_two_turns_and_others_have_theirs() {
        let turns = Turns::of_pool(10);
        let [hot, other] = [1, 2].map(|number| OrderId::from(Uuid::from_u128(number)));
        let first = turns.enter(hot).now_or_never().flatten().unwrap();
        let second = turns.enter(hot).now_or_never().flatten().unwrap();
        assert!(turns.enter(hot).now_or_never().is_none(), "a third one waits");
        assert!(turns.enter(other).now_or_never().is_some());
        drop(first);
        assert!(turns.enter(hot).now_or_never().is_some());
        drop(second);
        assert!(turns.queues().is_empty(), "nobody is left");
    }

    #[test]
    fn changes_never_take_the_whole_pool() {
        for (connections, changes) in [(1, 1), (2, 1), (5, 4), (10, 8), (100, 80)] {
            let turns = Turns::of_pool(connections);
            assert_eq!(turns.changes.available_permits(), changes, "{connections}");
        }
    }
}
