//! Writers that commit one row each, at a fixed rate.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use sqlx::postgres::PgConnection;
use tokio::time::sleep_until;
use uuid::Uuid;

use crate::dataset::Dataset;
use crate::outcome::Outcome;

/// Enough that a slow commit delays few others.
const CONNECTIONS: usize = 16;
const INSERT: &str = "insert into events (event_id, order_id, version, event_type, payload)
    values ($1, $2, 1, 'item_added', $3::text::json)";
/// Before the first transaction is due.
const LEAD: Duration = Duration::from_millis(20);
/// All keys but their last 12 hexadecimal digits, which tell them apart.
const KEYS: u128 = 0x0193_0000_0000_7000_8000 << INDEX_BITS;
const INDEX_BITS: u32 = 48;

/// A row that has committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    pub(crate) index: usize,
    /// When its transaction should have been sent.
    pub(crate) due: Instant,
    /// When the commit returned.
    pub(crate) returned: Instant,
}

/// The key of a row.
pub(super) fn key(index: usize) -> Uuid {
    Uuid::from_u128(KEYS | index as u128)
}

/// The row of a key.
pub(super) fn index(key: &str) -> Option<usize> {
    let key = Uuid::try_parse(key).ok()?.as_u128();
    (key >> INDEX_BITS == KEYS >> INDEX_BITS).then_some(key ^ KEYS)?.try_into().ok()
}

/// Connections that write.
#[derive(Debug)]
pub(crate) struct Writer {
    connections: Vec<PgConnection>,
    next: usize,
}

/// The rows of one connection: each [`CONNECTIONS`]th of all.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// The first row of all connections, and when it is due.
    first: usize,
    start: Instant,
    count: usize,
    per_second: u32,
    /// This connection begins with this row.
    which: usize,
}

impl Writer {
    pub(crate) async fn connect(dataset: &Dataset) -> Outcome<Self> {
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            connections.push(dataset.connect().await?);
        }
        Ok(Self { connections, next: 0 })
    }

    /// Commits one row.
    pub(crate) async fn write_one(&mut self) -> Outcome<Write> {
        let (index, due) = (self.next, Instant::now());
        self.next += 1;
        insert(&mut self.connections[0], index).await?;
        Ok(Write { index, due, returned: Instant::now() })
    }

    /// Commits rows at this rate, each when it is due or as soon after it as its connection is free.
    pub(crate) async fn write(&mut self, per_second: u32, seconds: u32) -> Outcome<Vec<Write>> {
        let count = per_second as usize * seconds as usize;
        let share = Share { first: self.next, start: Instant::now() + LEAD, count, per_second, which: 0 };
        self.next += count;
        let connections = self.connections.iter_mut().enumerate();
        let writing = connections.map(|(which, connection)| Share { which, ..share }.write(connection));
        Ok(try_join_all(writing).await?.concat())
    }
}

impl Share {
    async fn write(self, connection: &mut PgConnection) -> Outcome<Vec<Write>> {
        let mut writes = Vec::with_capacity(self.count / CONNECTIONS + 1);
        for nth in (self.which..self.count).step_by(CONNECTIONS) {
            let (index, due) = (self.first + nth, self.due(nth));
            sleep_until(due.into()).await;
            insert(connection, index).await?;
            writes.push(Write { index, due, returned: Instant::now() });
        }
        Ok(writes)
    }

    fn due(&self, nth: usize) -> Instant {
        self.start + Duration::from_secs_f64(nth as f64 / f64::from(self.per_second))
    }
}

async fn insert(connection: &mut PgConnection, index: usize) -> Outcome<()> {
    let (key, event_id) = (key(index), Uuid::now_v7());
    let payload = format!(
        r#"{{"item_id":"{event_id}","sku":"sku-{}","quantity":3,"unit_price_minor":149,"currency":"EUR","note":"{}"}}"#,
        index % 1000,
        "a short note, ".repeat(11)
    );
    sqlx::query(INSERT).bind(event_id).bind(key).bind(payload).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_known_by_its_key() {
        assert_eq!(index(&key(123_456).to_string()), Some(123_456));
        assert_eq!(index(&Uuid::nil().to_string()), None);
        assert_eq!(index("no key"), None);
    }

    #[test]
    fn what_is_due_does_not_wait_for_what_was_due_before() {
        let start = Instant::now();
        let share = Share { first: 7, start, count: 100, per_second: 200, which: 3 };
        assert_eq!(share.due(0), start);
        assert_eq!(share.due(100) - start, Duration::from_millis(500));
    }
}
